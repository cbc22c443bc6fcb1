// Role: see verdict.h.
#include "worker/verdict.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <string_view>

namespace coderunner {
namespace {

constexpr int kTimedOutCode = 124;
constexpr int kOutOfMemoryCode = 137;
constexpr int kSignalBase = 128;

void set(ExitReport& report, int code, Verdict verdict, LimitName limit) {
  report.exit_code = code;
  report.verdict = verdict;
  report.limit = limit;
}

// fork(2) says EAGAIN at the limit, and for nothing else that can happen to a job; so does pthread_create(3), but also
// for want of address space: that it was the limit has to be counted.
bool at_process_limit(const Evidence& evidence, const ExceptionInfo& exception) {
  const bool thread = exception.type == "RuntimeError" && exception.message == "can't start new thread";
  const bool again = exception.type == "BlockingIOError";  // EAGAIN, of a fork or of anything else
  // Files of the job's own have no absolute path here.
  constexpr std::string_view kForking[] = {"/subprocess.py", "/multiprocessing/popen_fork.py",
                                           "/multiprocessing/util.py"};
  const bool fork = again && (exception.source.contains("fork(") ||
                              std::ranges::any_of(kForking, [&](auto name) {
                                return exception.file.starts_with('/') && exception.file.ends_with(name);
                              }));
  return thread ? evidence.fork_refused.value_or(false) : fork && evidence.fork_refused.value_or(true);
}

void judge_exit(const Evidence& evidence, ExitReport& report) {
  const int status = evidence.outcome.wait_status;
  const bool memory_error = evidence.address_wall && report.exception && report.exception->type == "MemoryError";
  if (memory_error) return set(report, kOutOfMemoryCode, Verdict::kOutOfMemory, LimitName::kMemory);
  if (WIFSIGNALED(status)) {
    report.signal = static_cast<std::uint32_t>(WTERMSIG(status));
    return set(report, kSignalBase + WTERMSIG(status), Verdict::kKilled, LimitName::kNone);
  }
  const int code = WEXITSTATUS(status);
  const bool refused = code != 0 && report.exception && at_process_limit(evidence, *report.exception);
  set(report, code, code == 0 ? Verdict::kOk : Verdict::kError, refused ? LimitName::kProcesses : LimitName::kNone);
}

}  // namespace

void pass_verdict(const Evidence& evidence, ExitReport& report) {
  const RunOutcome& outcome = evidence.outcome;
  // A kernel that kills for memory may kill a child, or the runner, or leave init alone: the cause is the same.
  if (evidence.oom_killed || outcome.end == RunEnd::kMemory) {
    report.signal = SIGKILL;
    return set(report, kOutOfMemoryCode, Verdict::kOutOfMemory, LimitName::kMemory);
  }
  switch (outcome.end) {
    case RunEnd::kExited: return judge_exit(evidence, report);
    case RunEnd::kTimedOut: return set(report, kTimedOutCode, Verdict::kTimeout, LimitName::kTimeout);
    case RunEnd::kScratch:
      report.signal = SIGKILL;
      return set(report, kSignalBase + SIGKILL, Verdict::kKilled, LimitName::kScratch);
    case RunEnd::kMemory: return;  // above
    case RunEnd::kCancelled:
      report.reason = "cancelled: the client has gone";
      return set(report, -1, Verdict::kInternalError, LimitName::kNone);
    case RunEnd::kSandboxLost:
      report.reason = outcome.reason;
      return set(report, -1, Verdict::kInternalError, LimitName::kNone);
  }
}

}  // namespace coderunner
