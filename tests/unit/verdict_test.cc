// Role: what the contract calls each way a run can end, row by row; what the report pipe may hold.
#include "worker/verdict.h"

#include "worker/boot_report.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <string>

namespace coderunner {
namespace {

using namespace std::string_literals;

int exited(int code) { return code << 8; }  // the forms of wait(2)
int killed(int signal) { return signal; }

struct Row {
  std::string what;
  RunOutcome outcome;
  bool oom_killed;
  std::int32_t code;
  Verdict verdict;
  std::uint32_t signal;
  LimitName limit;
};

const Row kRows[] = {
    {"success", {RunEnd::kExited, exited(0), {}, {}}, false, 0, Verdict::kOk, 0, LimitName::kNone},
    {"an error", {RunEnd::kExited, exited(1), {}, {}}, false, 1, Verdict::kError, 0, LimitName::kNone},
    {"the highest code", {RunEnd::kExited, exited(255), {}, {}}, false, 255, Verdict::kError, 0, LimitName::kNone},
    {"124 by the script itself", {RunEnd::kExited, exited(124), {}, {}}, false, 124, Verdict::kError, 0,
     LimitName::kNone},
    {"a signal", {RunEnd::kExited, killed(SIGSEGV), {}, {}}, false, 139, Verdict::kKilled, SIGSEGV, LimitName::kNone},
    {"SIGKILL by itself", {RunEnd::kExited, killed(SIGKILL), {}, {}}, false, 137, Verdict::kKilled, SIGKILL,
     LimitName::kNone},
    {"SIGKILL by the kernel", {RunEnd::kExited, killed(SIGKILL), {}, {}}, true, 137, Verdict::kOutOfMemory, SIGKILL,
     LimitName::kMemory},
    {"a child killed by the kernel", {RunEnd::kExited, exited(0), {}, {}}, true, 137, Verdict::kOutOfMemory, SIGKILL,
     LimitName::kMemory},
    {"found above its memory", {RunEnd::kMemory, 0, {}, {}}, false, 137, Verdict::kOutOfMemory, SIGKILL,
     LimitName::kMemory},
    {"timed out", {RunEnd::kTimedOut, 0, {}, {}}, false, 124, Verdict::kTimeout, 0, LimitName::kTimeout},
    {"out of disk space", {RunEnd::kScratch, 0, {}, {}}, false, 137, Verdict::kKilled, SIGKILL, LimitName::kScratch},
    {"the client gone", {RunEnd::kCancelled, 0, {}, {}}, false, -1, Verdict::kInternalError, 0, LimitName::kNone},
    {"the sandbox lost", {RunEnd::kSandboxLost, 0, "init: killed", {}}, false, -1, Verdict::kInternalError, 0,
     LimitName::kNone},
};

TEST_CASE("every end of a run has the contract's code, verdict and limit") {
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    ExitReport report;
    pass_verdict({row.outcome, row.oom_killed, false}, report);
    CHECK(report.exit_code == row.code);
    CHECK(report.verdict == row.verdict);
    CHECK(report.signal == row.signal);
    CHECK(report.limit == row.limit);
    CHECK(report.reason.empty() == (row.code != -1));
  }
}

TEST_CASE("a MemoryError is the limit's only where an address-space limit stands in for a cgroup") {
  for (const bool wall : {true, false}) {
    ExitReport report;
    report.exception = ExceptionInfo{"MemoryError", "", "script.py", 1, "x"};
    pass_verdict({{RunEnd::kExited, exited(1), {}, {}}, false, wall}, report);
    CHECK(report.exit_code == (wall ? 137 : 1));
    CHECK((report.limit == LimitName::kMemory) == wall);
  }
}

TEST_CASE("the limit on processes is named where it ended the script, as far as anyone can tell") {
  const ExceptionInfo thread{"RuntimeError", "can't start new thread", "/usr/lib/python3.11/threading.py", 971, ""};
  const ExceptionInfo fork{"BlockingIOError", "[Errno 11]", "script.py", 3, "if os.fork() == 0: pass"};
  const ExceptionInfo start{"BlockingIOError", "[Errno 11]", "/usr/lib/python3.11/subprocess.py", 1901, ""};
  const ExceptionInfo read{"BlockingIOError", "[Errno 11]", "script.py", 3, "socket.recv(1)"};
  const ExceptionInfo own{"BlockingIOError", "[Errno 11]", "pkg/subprocess.py", 3, "os.read(fd, 1)  # not a fork"};
  const ExceptionInfo other{"RuntimeError", "odd", "script.py", 3, "os.fork()"};
  struct Case {
    const char* what;
    ExceptionInfo exception;
    std::optional<bool> refused;
    int code;
    LimitName limit;
  };
  const Case cases[] = {
      {"a thread, counted", thread, true, 1, LimitName::kProcesses},
      {"a thread, but none was refused", thread, false, 1, LimitName::kNone},
      {"a thread, nobody counts", thread, std::nullopt, 1, LimitName::kNone},
      {"a fork, counted", fork, true, 1, LimitName::kProcesses},
      {"a fork, nobody counts", fork, std::nullopt, 1, LimitName::kProcesses},
      {"a process, nobody counts", start, std::nullopt, 1, LimitName::kProcesses},
      {"a read, nobody counts", read, std::nullopt, 1, LimitName::kNone},
      {"a read, none was refused", read, false, 1, LimitName::kNone},
      {"a read, another one was refused", read, true, 1, LimitName::kNone},
      {"a read in a module of that name, nobody counts", own, std::nullopt, 1, LimitName::kNone},
      {"a read in a module of that name, another one was refused", own, true, 1, LimitName::kNone},
      {"another error, counted", other, true, 1, LimitName::kNone},
      {"success all the same", fork, true, 0, LimitName::kNone},
  };
  for (const Case& row : cases) {
    CAPTURE(row.what);
    ExitReport report;
    report.exception = row.exception;
    pass_verdict({.outcome = {RunEnd::kExited, exited(row.code), {}, {}}, .fork_refused = row.refused}, report);
    CHECK(report.exit_code == row.code);
    CHECK(report.limit == row.limit);
  }
}

TEST_CASE("the report pipe is read as far as it makes sense") {
  CHECK(parse_boot_report("parked\0003.11.2\0"s).version == "3.11.2");

  const auto both = parse_boot_report("exception\0json.JSONDecodeError\0bad\0a.py\00017\0x = 1\0ended\0002048\0"s);
  REQUIRE(both.exception);
  CHECK(both.exception->type == "json.JSONDecodeError");
  CHECK(both.exception->message == "bad");
  CHECK(both.exception->file == "a.py");
  CHECK(both.exception->line == 17);
  CHECK(both.exception->source == "x = 1");
  REQUIRE(both.ended);
  CHECK(both.ended->peak_memory_bytes == 2048);

  // A script can write there, too: nonsense says nothing, and stops the reading.
  for (const std::string& text : {""s, "\0\0\0"s, "garbage"s, "Stack (most recent call first):\n"s}) {
    CAPTURE(text);
    const auto report = parse_boot_report(text);
    CHECK(report.version.empty());
    CHECK_FALSE(report.exception);
    CHECK_FALSE(report.ended);
  }
  CHECK_FALSE(parse_boot_report("nonsense\0ended\0001\0"s).ended);
  CHECK(parse_boot_report("ended\0much\0"s).ended->peak_memory_bytes == 0);
}

}  // namespace
}  // namespace coderunner
