// Role: see output_text.h.
#include "supervisor/output_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/text.h"

namespace coderunner {

std::string OutputDecoder::feed(std::string_view bytes) {
  const std::string_view within = bytes.substr(0, limit_ - std::min(limit_, seen_));
  std::string text = decode(within);
  bytes.remove_prefix(within.size());
  if (bytes.empty()) return text;
  if (!behind_limit_) rest_.clear();  // split by our cut
  behind_limit_ = true;
  return text += decode(bytes);
}

std::string OutputDecoder::decode(std::string_view bytes) {
  seen_ += bytes.size();
  std::string joined;
  if (!rest_.empty()) {
    joined = std::move(rest_);
    joined += bytes;
    bytes = joined;
  }
  const std::string_view whole = drop_incomplete_utf8(bytes);
  std::string text = decode_utf8_replace(whole);
  rest_ = std::string(bytes.substr(whole.size()));
  return text;
}

std::string OutputDecoder::finish(bool truncated) {
  return truncated && !behind_limit_ ? std::string() : decode_utf8_replace(rest_);
}

Truncation find_truncation(const ExitReport& report, const Limits& limits) {
  return {.out = report.stdout_bytes > limits.stdout_bytes, .err = report.stderr_bytes > limits.stderr_bytes};
}

std::string format_notes(const ExitReport& report, const Limits& limits) {
  const Truncation truncated = find_truncation(report, limits);
  std::string notes;
  if (report.verdict == Verdict::kTimeout) notes += "\n[Error: Script timed out]";
  if (report.verdict == Verdict::kOutOfMemory) notes += "\n[Error: Out of memory]";
  if (report.verdict == Verdict::kInternalError) {
    notes += "[Internal execution error] " + decode_utf8_replace(report.reason);
  }
  if (truncated.out) notes += fmt::format("\n[Truncated: stdout exceeded {} bytes]", limits.stdout_bytes);
  if (truncated.err) notes += fmt::format("\n[Truncated: stderr exceeded {} bytes]", limits.stderr_bytes);
  return notes;
}

std::string format_artifacts_refusal(const Limits& limits) {
  return fmt::format("Total artifacts too large: exceeds {} bytes.", limits.artifacts_bytes);
}

}  // namespace coderunner
