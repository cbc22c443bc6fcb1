// Role: refused calls are answered and named, whoever makes them and whatever becomes of the caller meanwhile.
// Law: the caller is a process under both filters, as a script is; this process plays the worker.
#include "worker/denials.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "common/sys.h"
#include "support/under_filter.h"
#include "worker/descriptors.h"
#include "worker/privileges.h"

namespace coderunner {
namespace {

std::string outcome(long answer) { return answer == -1 ? strerrorname_np(sys::last_errno()) : "0"; }
std::string trace() { return outcome(::syscall(SYS_ptrace, 0, 0, 0, 0)); }

// A process that does `piece` under a worker's and a script's filter; what it answers comes through a pipe.
struct Caller {
  pid_t pid = -1;
  UniqueFd said;
  Denials denials;

  explicit Caller(const test::Piece& piece) {
    static const Filter kAsking = script_filter({}, Refusal::kByListener);
    Pipe answer = sys::make_pipe().value(), handover = sys::make_socket_pair().value();
    pid = ::fork();
    if (pid == 0) {
      (void)sys::write_all(answer.write.get(), test::under({test::FilterKind::kWorker}, [&]() -> std::string {
        auto listener = install_filter(kAsking);
        if (!listener) return listener.error().message;
        const auto sent = send_descriptors(handover.write.get(), 'L', std::array{listener->get()});
        if (!sent) return sent.error().message;
        listener->reset();
        return piece();
      }));
      ::_exit(0);
    }
    answer.write.reset();
    said = std::move(answer.read);
    pollfd entry{handover.read.get(), POLLIN, 0};
    REQUIRE(sys::poll({&entry, 1}, Deadline::in(Millis(60'000))) == 1);
    denials = Denials(receive_descriptor(handover.read.get()).value());
  }
  ~Caller() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  void wait_for_question() const {
    pollfd entry{denials.fd(), POLLIN, 0};
    REQUIRE(sys::poll({&entry, 1}, Deadline::in(Millis(60'000))) == 1);
  }
  // To the caller's end: what it said. Before Linux 6.11 a listener sees the end of a process when it is reaped, no
  // earlier.
  std::string serve() {
    std::string text;
    for (;;) {
      std::array<pollfd, 2> entries = {{{said.get(), POLLIN, 0}, {denials.fd(), POLLIN, 0}}};
      REQUIRE(sys::poll(entries, Deadline::in(Millis(60'000))).value() >= 1);
      if (entries[1].revents != 0) denials.answer();
      if (entries[0].revents == 0) continue;
      std::array<char, 256> buffer{};
      const auto count = sys::read_some(said.get(), buffer).value();
      if (!count || *count == 0) return text;
      text.append(buffer.data(), *count);
    }
  }
};

using Names = std::vector<std::string>;

TEST_CASE("a refused call is answered with EPERM, and has its name") {
  Caller caller([] {
    const std::string first = trace();
    const std::string second = outcome(::syscall(SYS_keyctl, 0, -3, 0));
    return first + " " + second + " " + trace() + " " + outcome(::socket(AF_NETLINK, SOCK_RAW, 0)) + " " +
           outcome(::syscall(SYS_clone3, nullptr, 0)) + " " + outcome(::syscall(SYS_getppid) > 0 ? 0 : -1);
  });
  CHECK(caller.serve() == "EPERM EPERM EPERM EPERM ENOSYS 0");
  CHECK(caller.denials.names() == Names{"keyctl", "ptrace", "socket"});
}

TEST_CASE("what was refused before the script began is not the script's") {
  Caller caller([] { return trace() + " " + outcome(::syscall(SYS_keyctl, 0, -3, 0)); });
  caller.wait_for_question();
  caller.denials.answer();
  caller.denials.forget();
  CHECK(caller.serve() == "EPERM EPERM");
  CHECK(caller.denials.names().size() <= 1);  // the first round may have met both
}

TEST_CASE("children of the caller are heard, too") {
  Caller caller([] {
    if (::fork() == 0) {
      if (::fork() == 0) ::_exit(::syscall(SYS_keyctl, 0, -3, 0) == -1 ? 0 : 1);
      (void)trace();
      ::wait(nullptr);
      ::_exit(0);
    }
    ::wait(nullptr);
    return std::string("done");
  });
  CHECK(caller.serve() == "done");
  CHECK(caller.denials.names() == Names{"keyctl", "ptrace"});
}

TEST_CASE("a storm of calls is answered call by call, and remembered up to a limit") {
  Caller caller([] {
    for (int number = 600; number < 2000; ++number)
      if (outcome(::syscall(number)) != "EPERM") return std::string("let through");
    return std::string("done");
  });
  CHECK(caller.serve() == "done");
  const Names names = caller.denials.names();
  CHECK(names.size() == 64);
  CHECK(names.front() == "syscall 600");
}

TEST_CASE("a caller that dies while it waits takes its question back") {
  Caller caller(trace);
  caller.wait_for_question();
  ::kill(caller.pid, SIGKILL);
  CHECK(caller.serve().empty());
  CHECK(caller.denials.names().size() <= 1);
}

int interrupted_by = -1;  // what the handler below writes to

TEST_CASE("a call that a signal interrupts is asked again") {
  Pipe told = sys::make_pipe().value();
  Caller caller([&] {
    interrupted_by = told.write.get();
    struct sigaction action {};
    action.sa_handler = [](int) { (void)::write(interrupted_by, "x", 1); };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval soon{{}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &soon, nullptr);
    return trace();
  });
  std::array<char, 1> byte{};
  REQUIRE(sys::read_some(told.read.get(), byte).value() == 1);
  CHECK(caller.serve() == "EPERM");
  CHECK(caller.denials.names() == Names{"ptrace"});
}

TEST_CASE("when nobody listens any more the kernel refuses by itself") {
  Caller caller(trace);
  caller.wait_for_question();
  caller.denials = Denials();
  CHECK(sys::read_all(caller.said.get(), 100).value() == "ENOSYS");
}

TEST_CASE("whether a process can have a listener is found out by trying") {
  CHECK(test::in_child([] {
    const auto first = try_notifications();
    if (!first) return first.error().message;
    (void)set_no_new_privileges();
    const Filter taken{.program = {BPF_STMT(BPF_RET | BPF_K, 0x7fff'0000)}, .notifies = true};  // allows everything
    const auto listener = install_filter(taken);
    const auto second = try_notifications();
    return listener && !second ? second.error().message : std::string("a second listener was let in");
  }) == "seccomp(SECCOMP_SET_MODE_FILTER): EBUSY");
}

}  // namespace
}  // namespace coderunner
