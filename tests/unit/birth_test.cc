// Role: what kind of process a worker is born as.
#include "supervisor/birth.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "common/sys.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

using test::WorkerScript;

TEST_CASE("a worker is born without anything of its parent's but its standard error") {
  const WorkerScript script("describe @/me\nready\nhang\n");
  // What must not be passed on: a variable, an inheritable descriptor, a blocked and an ignored signal.
  ::setenv("CODERUNNER_TEST_SECRET", "secret", 1);
  Pipe inheritable = sys::make_pipe().value();
  const UniqueFd high(::dup(inheritable.read.get()));  // dup(2) clears close-on-exec
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto old = ::signal(SIGPIPE, SIG_IGN);

  auto born = start_worker(test::test_worker_program(), script.setup());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGPIPE, old);
  ::unsetenv("CODERUNNER_TEST_SECRET");
  REQUIRE(born.has_value());
  const auto ready = born->channel.receive(Deadline::in(Millis{20'000}));
  REQUIRE(ready.has_value());
  REQUIRE(ready->has_value());
  CHECK((*ready)->type == FrameType::kReady);
  // The test worker ignores SIGPIPE itself.
  CHECK(sys::read_file(script.path("me")).value() ==
        "argv coderunner-worker environment empty directory / session own fd0 fd1 fd2 fd3 0=/dev/null "
        "SigBlk none SigIgn some ");
}

TEST_CASE("the parent's own signal mask is as it was") {
  const WorkerScript script("ready\nhang\n");
  sigset_t before, after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  const auto born = start_worker(test::test_worker_program(), script.setup());
  CHECK(born.has_value());
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < SIGRTMAX; ++signal) {
    CHECK(::sigismember(&before, signal) == ::sigismember(&after, signal));
  }
}

TEST_CASE("a program that can not be executed is named, with its cure") {
  struct Row {
    mode_t mode;
    const char *content, *says;
  };
  const Row rows[] = {
      {0644, "text", "execveat: EACCES (the service's user must be able to execute it)"},
      {0755, "no program", "execveat: ENOEXEC"},
  };
  for (const Row& row : rows) {
    const WorkerScript script("");
    const std::string path = script.path("program");
    std::ofstream(path) << row.content;
    REQUIRE(::chmod(path.c_str(), row.mode) == 0);
    const auto born = start_worker(open_worker(path).value(), script.setup());
    REQUIRE_FALSE(born.has_value());
    CHECK(born.error().fault == Fault::kSandbox);
    CHECK(born.error().message == path + ": " + row.says);
  }
  CHECK(open_worker("/dev/null/worker").error().message == "openat(\"/dev/null/worker\"): ENOTDIR");
}

}  // namespace
}  // namespace coderunner
