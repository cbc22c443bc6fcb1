// Role: what a dead process leaves behind is found, killed and reaped, whatever it does.
#include "supervisor/orphans.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "common/child.h"
#include "common/sys.h"

namespace coderunner {
namespace {

// This process as the one to whom orphans come, for a test.
class Subreaper {
 public:
  Subreaper() { REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); }
  ~Subreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }
};

[[noreturn]] void wait_for_end() {
  for (;;) ::pause();
}

// Runs `body` in a child, which then ends; returns when it has ended and been reaped.
template <class Body> void leave_behind(Body&& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  auto child = Child::adopt(pid).value();
  REQUIRE(child.wait(Deadline::never()).value()->code == 0);
}

TEST_CASE("orphans in sessions of their own, deaf to signals, are ended") {
  const Subreaper subreaper;
  Pipe born = sys::make_pipe().value();
  leave_behind([&] {
    for (int i = 0; i < 5; ++i) {
      if (::fork() != 0) continue;
      ::setsid();
      for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::signal(signal, SIG_IGN);
      // And a child of each, which comes to us by its parent's death.
      if (::fork() == 0) static_cast<void>(sys::write_all(born.write.get(), "."));
      wait_for_end();
    }
    char byte = 0;
    for (int i = 0; i < 5; ++i) static_cast<void>(sys::read_some(born.read.get(), {&byte, 1}));
  });
  CHECK(end_orphans({}, Deadline::in(Millis{20'000})).value() == 10);
  CHECK(list_children().value().empty());
}

TEST_CASE("the first process of a pid namespace is waited for after the others") {
  const Subreaper subreaper;
  leave_behind([] {
    // Without the right to a namespace two plain processes are left, which end in any order.
    if (::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) static_cast<void>(::unshare(CLONE_NEWPID));
    for (int i = 0; i < 2; ++i) {
      if (::fork() == 0) wait_for_end();
    }
  });
  CHECK(end_orphans({}, Deadline::in(Millis{20'000})).value() == 2);
  CHECK(list_children().value().empty());
}

TEST_CASE("children that are spared live on, and are listed") {
  const pid_t pid = ::fork();
  if (pid == 0) wait_for_end();
  const Child child = Child::adopt(pid).value();
  CHECK(list_children().value() == std::vector{pid});
  CHECK(end_orphans({&pid, 1}, Deadline::in(Millis{20'000})).value() == 0);
  CHECK(::kill(pid, 0) == 0);
  CHECK(list_children().value() == std::vector{pid});
}

TEST_CASE("children that can not be looked for are not taken for none") {
  const pid_t pid = ::fork();
  if (pid == 0) wait_for_end();
  const Child child = Child::adopt(pid).value();
  rlimit usual{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
  const auto next = static_cast<rlim_t>(::dup(0));  // the number that the next descriptor gets
  REQUIRE(::close(static_cast<int>(next)) == 0);
  for (const rlim_t free : {0, 1, 2}) {
    const rlimit few{next + free, usual.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    const auto listed = list_children();
    ::setrlimit(RLIMIT_NOFILE, &usual);
    CAPTURE(free);
    if (free < 2) CHECK(listed.error().message.find("EMFILE") != std::string::npos);  // a directory and a file in it
    else CHECK(listed.value() == std::vector{pid});
  }
}

TEST_CASE("children of other threads are found") {
  Pipe gate = sys::make_pipe().value();
  std::atomic<pid_t> pid = 0;
  std::thread parent([&] {
    pid = ::fork();
    if (pid == 0) wait_for_end();
    char byte = 0;
    static_cast<void>(sys::read_some(gate.read.get(), {&byte, 1}));  // a thread's children go to another one with it
  });
  while (pid == 0) std::this_thread::yield();
  {
    const Child child = Child::adopt(pid).value();
    CHECK(list_children().value() == std::vector<pid_t>{pid});
  }
  gate.write.reset();
  parent.join();
}

}  // namespace
}  // namespace coderunner
