// Role: signalfd and the last resort.
// Callers: see signals.h.
#include "supervisor/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

#include "common/sys.h"

namespace coderunner {

Result<SignalWatch> SignalWatch::make() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const long fd = TRY(sys::retry("signalfd", [&] { return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK); }));
  return SignalWatch(UniqueFd(static_cast<int>(fd)), set);
}

Result<std::optional<int>> SignalWatch::wait(Deadline deadline, int other) const {
  std::array<pollfd, 2> entries = {{{fd_.get(), POLLIN, 0}, {other, POLLIN, 0}}};
  if (TRY(sys::poll(entries, deadline)) == 0 || entries[0].revents == 0) return std::nullopt;
  signalfd_siginfo info{};
  const auto count = TRY(sys::read_some(fd_.get(), {reinterpret_cast<char*>(&info), sizeof info}));
  if (!count) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

void SignalWatch::exit_at_next() const {
  // A handler and not SIG_DFL, whose action PID 1 of a container never takes (pid_namespaces(7)).
  struct sigaction action {};
  action.sa_handler = [](int signal) { ::_exit(128 + signal); };
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
}

}  // namespace coderunner
