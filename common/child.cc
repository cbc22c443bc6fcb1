// Role: waiting for a child, killing it, reaping it once.
// Callers: see child.h.
// Law: until this process has reaped a child its pid names nothing else, so no signal can hit a stranger; afterwards
// pid_ is gone and none is sent.
#include "common/child.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "common/sys.h"

namespace coderunner {

Result<Child> Child::adopt(pid_t pid) {
  if (pid <= 0) return fail(Fault::kInternal, fmt::format("adopt: {} is no process", pid));  // kill(2): a group, or all
  // Asks without reaping. ECHILD: not a child of ours, so not ours to kill either.
  siginfo_t info{};
  constexpr int kLook = WEXITED | WNOHANG | WNOWAIT | __WALL;
  const auto id = static_cast<id_t>(pid);
  TRY(sys::retry(fmt::format("waitid({})", pid), [&] { return ::waitid(P_PID, id, &info, kLook); }));
  Child child(pid, UniqueFd());  // from here on no way out leaves it running or unreaped
  const std::string what = fmt::format("pidfd_open({})", pid);
  const long pidfd = TRY(sys::retry(what, [&] { return ::syscall(SYS_pidfd_open, pid, 0); }));
  child.pidfd_.reset(static_cast<int>(pidfd));  // close-on-exec by itself (pidfd_open(2))
  return child;
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() { end(); }

void Child::kill(int signal) const {
  if (pid_ <= 0) return;
  // By pidfd where there is one: right even if SIGCHLD is ignored and the kernel has reaped the child by itself.
  // A failure means that it is dead already.
  if (pidfd_.valid()) {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
  } else {
    ::kill(pid_, signal);
  }
}

Result<std::optional<ExitStatus>> Child::wait(Deadline deadline) {
  if (pid_ <= 0) return fail(Fault::kInternal, "wait: no child, or reaped already");
  if (!pidfd_.valid()) return fail(Fault::kInternal, "wait: child without a pidfd");
  pollfd entry{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  if (TRY(sys::poll({&entry, 1}, deadline)) == 0) return std::nullopt;

  int status = 0;
  ExitStatus exit;
  // __WALL: a child cloned without SIGCHLD as its exit signal is otherwise not waited for (wait(2)). wait4 and not
  // waitid, whose wrapper drops the resource usage.
  const auto reaped = sys::retry("wait4", [&] { return ::wait4(pid_, &status, __WALL, &exit.usage); });
  pid_ = -1;  // reaped; or ECHILD: by someone else
  pidfd_.reset();
  if (!reaped) return std::unexpected(reaped.error());
  if (WIFSIGNALED(status)) {
    exit.signal = WTERMSIG(status);
  } else {
    exit.code = WEXITSTATUS(status);
  }
  return exit;
}

void Child::end() {
  if (pid_ <= 0) return;
  kill(SIGKILL);
  // An error is ECHILD, someone else has reaped it: nothing is left to do then.
  static_cast<void>(sys::retry("wait4", [&] { return ::wait4(pid_, nullptr, __WALL, nullptr); }));
  pid_ = -1;
  pidfd_.reset();
}

}  // namespace coderunner
