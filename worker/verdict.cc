// Role: see verdict.h.
#include "worker/verdict.h"

#include <signal.h>
#include <sys/wait.h>

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

void judge_exit(const Evidence& evidence, ExitReport& report) {
  const int status = evidence.outcome.wait_status;
  const bool memory_error = evidence.address_wall && report.exception && report.exception->type == "MemoryError";
  if (memory_error) return set(report, kOutOfMemoryCode, Verdict::kOutOfMemory, LimitName::kMemory);
  if (WIFSIGNALED(status)) {
    report.signal = static_cast<std::uint32_t>(WTERMSIG(status));
    return set(report, kSignalBase + WTERMSIG(status), Verdict::kKilled, LimitName::kNone);
  }
  const int code = WEXITSTATUS(status);
  set(report, code, code == 0 ? Verdict::kOk : Verdict::kError, LimitName::kNone);
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
