// Role: see verdict.h.
#include "worker/verdict.h"

#include <signal.h>
#include <sys/wait.h>

#include <charconv>

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

// The fields of one record: NUL-terminated pieces.
std::string_view take_field(std::string_view& bytes) {
  const auto end = bytes.find('\0');
  const auto field = bytes.substr(0, end);
  bytes = end == std::string_view::npos ? std::string_view() : bytes.substr(end + 1);
  return field;
}

template <class Number>
void parse_number(std::string_view text, Number& number) {
  std::from_chars(text.data(), text.data() + text.size(), number);
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

BootReport parse_boot_report(std::string_view bytes) {
  BootReport report;
  while (!bytes.empty()) {
    const auto kind = take_field(bytes);
    if (kind == "parked") {
      report.version = take_field(bytes);
    } else if (kind == "exception") {
      ExceptionInfo info;
      info.type = take_field(bytes);
      info.message = take_field(bytes);
      info.file = take_field(bytes);
      parse_number(take_field(bytes), info.line);
      info.source = take_field(bytes);
      report.exception = std::move(info);
    } else if (kind == "ended") {
      BootReport::Ended& ended = report.ended.emplace();
      parse_number(take_field(bytes), ended.status);
      parse_number(take_field(bytes), ended.cpu_us);
      parse_number(take_field(bytes), ended.peak_memory_bytes);
    } else {
      break;
    }
  }
  return report;
}

}  // namespace coderunner
