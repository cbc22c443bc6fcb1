// Role: a Child is waited for, killed, and reaped exactly once.
// Law: a child lives until it is told to end, by a pipe or a signal; none sleeps. The signals are those for which
// doctest installs no handler, since a forked child inherits handlers.
#include "common/child.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/sys.h"

namespace coderunner {
namespace {

// A child that waits until `gate` is closed by all others, then runs `body`.
template <class Body> Child fork_child(Pipe& gate, Body&& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    gate.write.reset();
    char byte = 0;
    static_cast<void>(sys::read_some(gate.read.get(), {&byte, 1}));
    body();
    ::_exit(0);
  }
  return Child::adopt(pid).value();
}

// Also of others, whom one may not send signals to (kill(2), EPERM).
bool exists(pid_t pid) { return ::kill(pid, 0) == 0 || sys::last_errno() == EPERM; }

TEST_CASE("the exit code or signal of a child is reported") {
  struct Row {
    int code, signal;
  };
  for (const Row row :
       {Row{0, 0}, Row{1, 0}, Row{7, 0}, Row{255, 0}, Row{0, SIGALRM}, Row{0, SIGKILL}, Row{0, SIGUSR1}}) {
    CAPTURE(row.code);
    CAPTURE(row.signal);
    Pipe gate = sys::make_pipe().value();
    Child child = fork_child(gate, [&] {
      if (row.signal != 0) ::raise(row.signal);
      ::_exit(row.code);
    });
    CHECK(child.running());
    CHECK(child.pid() > 0);
    gate.write.reset();
    const auto status = child.wait(Deadline::never()).value();
    REQUIRE(status.has_value());
    CHECK(status->code == row.code);
    CHECK(status->signal == row.signal);
    CHECK(status->usage.ru_maxrss > 0);
    CHECK_FALSE(child.running());
    CHECK(child.pid() == -1);
    CHECK(child.pidfd() == -1);
  }
}

TEST_CASE("a wait ends at its deadline and leaves the child alone") {
  Pipe gate = sys::make_pipe().value();
  Child child = fork_child(gate, [] { ::_exit(3); });
  CHECK(child.wait(Deadline::in(Millis(0))).value() == std::nullopt);
  CHECK(child.wait(Deadline::in(Millis(10))).value() == std::nullopt);
  CHECK(child.running());
  CHECK(exists(child.pid()));
  gate.write.reset();
  CHECK(child.wait(Deadline::never()).value()->code == 3);
}

TEST_CASE("the pidfd becomes readable when the child ends") {
  Pipe gate = sys::make_pipe().value();
  Child child = fork_child(gate, [] {});
  pollfd entry{.fd = child.pidfd(), .events = POLLIN, .revents = 0};
  CHECK(sys::poll({&entry, 1}, Deadline::in(Millis(0))).value() == 0);
  gate.write.reset();
  CHECK(sys::poll({&entry, 1}, Deadline::never()).value() == 1);
  CHECK(child.wait(Deadline::in(Millis(0))).value()->code == 0);  // one that has ended is reaped without time to spare
}

TEST_CASE("the processor time of a child is counted") {
  Pipe gate = sys::make_pipe().value();
  Child child = fork_child(gate, [] {
    rusage used{};
    while (used.ru_utime.tv_usec < 20'000 && used.ru_utime.tv_sec == 0) ::getrusage(RUSAGE_SELF, &used);
  });
  gate.write.reset();
  const auto status = child.wait(Deadline::never()).value();
  CHECK((status->usage.ru_utime.tv_sec > 0 || status->usage.ru_utime.tv_usec >= 20'000));
}

TEST_CASE("a child is sent signals until it is reaped, and none afterwards") {
  Pipe gate = sys::make_pipe().value();
  Child child = fork_child(gate, [] {});
  child.kill(0);
  CHECK(child.running());
  child.kill(SIGUSR1);  // nohup(1) would have it ignore SIGHUP
  CHECK(child.wait(Deadline::never()).value()->signal == SIGUSR1);
  child.kill(SIGKILL);
  Child().kill(SIGKILL);  // a pid of -1 would be everybody's
  CHECK_FALSE(child.wait(Deadline::never()).has_value());
  CHECK_FALSE(Child().wait(Deadline::never()).has_value());
}

TEST_CASE("a child that is destroyed is killed and reaped") {
  Pipe gate = sys::make_pipe().value();
  pid_t pid = -1;
  {
    const Child child = fork_child(gate, [] {});
    pid = child.pid();
    CHECK(exists(pid));
  }
  CHECK_FALSE(exists(pid));
  CHECK(::waitpid(pid, nullptr, WNOHANG) == -1);
  CHECK(sys::last_errno() == ECHILD);
}

TEST_CASE("a child that ignores every signal that can be ignored is killed too") {
  Pipe gate = sys::make_pipe().value();
  pid_t pid = -1;
  {
    const auto old_handler = ::signal(SIGHUP, SIG_IGN);  // inherited
    const Child child = fork_child(gate, [] {});
    ::signal(SIGHUP, old_handler);
    pid = child.pid();
    child.kill(SIGHUP);
    CHECK(exists(pid));
  }
  CHECK_FALSE(exists(pid));
}

TEST_CASE("moving hands the child over, and ends the one that was held before") {
  Pipe gate = sys::make_pipe().value();
  Child first = fork_child(gate, [] {});
  const pid_t first_pid = first.pid();
  Child second(std::move(first));
  CHECK_FALSE(first.running());
  CHECK(first.pidfd() == -1);
  CHECK(second.pid() == first_pid);
  Child third = fork_child(gate, [] {});
  const pid_t third_pid = third.pid();
  third = std::move(second);
  CHECK_FALSE(exists(third_pid));
  CHECK(third.pid() == first_pid);
  CHECK(exists(first_pid));
  Child& itself = third;
  third = std::move(itself);
  CHECK(third.pid() == first_pid);
  CHECK(exists(first_pid));
}

TEST_CASE("what is no child of this process is not adopted, and not killed") {
  for (const pid_t pid : {0, -1, -::getpid(), 1, ::getppid(), ::getpid()}) {
    CAPTURE(pid);
    const auto child = Child::adopt(pid);
    REQUIRE_FALSE(child.has_value());
    CHECK(child.error().fault == Fault::kInternal);
  }
  CHECK(exists(1));
  CHECK(exists(::getppid()));
}

TEST_CASE("a child without an exit signal is waited for as well") {
  // As clone3(2) makes it when exit_signal is 0.
  const long pid = ::syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) ::syscall(SYS_exit_group, 9);
  REQUIRE(pid > 0);
  auto child = Child::adopt(static_cast<pid_t>(pid));
  REQUIRE(child.has_value());
  const auto status = child->wait(Deadline::never());
  REQUIRE(status.has_value());
  CHECK((*status)->code == 9);
}

TEST_CASE("a child that someone else reaps is an error and then no more") {
  Pipe gate = sys::make_pipe().value();
  const auto old_handler = ::signal(SIGCHLD, SIG_IGN);  // the kernel reaps (waitpid(2), NOTES)
  Child child = fork_child(gate, [] {});
  gate.write.reset();
  const auto status = child.wait(Deadline::never());
  ::signal(SIGCHLD, old_handler);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message == "wait4: ECHILD");
  CHECK_FALSE(child.running());
}

}  // namespace
}  // namespace coderunner
