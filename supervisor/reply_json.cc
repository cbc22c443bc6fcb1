// Role: writes the JSON of an answer; see reply_json.h.
#include "supervisor/reply_json.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "common/text.h"
#include "supervisor/artifact_names.h"
#include "supervisor/output_text.h"

namespace coderunner {
namespace {

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

std::string_view limit_json(LimitName limit) {
  switch (limit) {
    case LimitName::kNone: return "null";
    case LimitName::kTimeout: return R"("timeout")";
    case LimitName::kMemory: return R"("memory")";
    case LimitName::kArtifacts: return R"("artifacts")";
    case LimitName::kScratch: return R"("scratch")";
    case LimitName::kProcesses: return R"("processes")";
  }
  return "null";
}

double to_ms(std::uint64_t micros) { return static_cast<double>(micros) / 1000; }

std::string decode_output(std::string_view kept, bool truncated, Bytes limit) {
  OutputDecoder decoder(limit);
  std::string text = decoder.feed(kept);
  return text += decoder.finish(truncated);
}

// Not skipped, and not cut off by the loss of its worker.
bool is_whole(const Artifact& artifact) {
  return artifact.header.skipped.empty() && artifact.content.size() == artifact.header.bytes;
}

void append_artifacts(std::string& out, const std::vector<Artifact>& artifacts) {
  out += '{';
  ArtifactNames names;
  const char* separator = "";
  for (const Artifact& artifact : artifacts) {
    if (!is_whole(artifact)) continue;
    out += separator;
    separator = ",";
    append_json_quoted(out, names.take(artifact.header.name));
    out += ':';
    append_file(out, artifact.content);
  }
  out += '}';
}

std::string exception_json(const std::optional<ExceptionInfo>& exception) {
  if (!exception) return "null";
  return fmt::format(R"({{"type":{},"message":{},"file":{},"line":{},"source":{}}})", quote(exception->type),
                     quote(exception->message), quote(exception->file), exception->line, quote(exception->source));
}

std::string skipped_json(const std::vector<ArtifactHeader>& skipped) {
  std::vector<std::string> rows;
  for (const ArtifactHeader& header : skipped) {
    rows.push_back(fmt::format(R"({{"name":{},"bytes":{},"reason":{}}})", quote(header.name), header.bytes,
                               quote(header.skipped)));
  }
  return fmt::format("[{}]", fmt::join(rows, ","));
}

std::string denied_json(const std::vector<std::string>& denied) {
  std::vector<std::string> rows;
  std::ranges::transform(denied, std::back_inserter(rows), [](const std::string& name) { return quote(name); });
  return fmt::format("[{}]", fmt::join(rows, ","));
}

std::vector<ArtifactHeader> skipped_of(const CollectingSink& output) {
  std::vector<ArtifactHeader> skipped;
  for (const Artifact& artifact : output.artifacts()) {
    if (!artifact.header.skipped.empty()) skipped.push_back(artifact.header);
  }
  return skipped;
}

struct FaultRow {
  Fault fault;
  int status;
  std::string_view header, value;  // that goes with it
};
constexpr auto kFaults = std::to_array<FaultRow>({
    {Fault::kClient, 400, "", ""},
    {Fault::kUnauthorized, 401, "WWW-Authenticate", "Bearer"},  // RFC 9110 section 15.5.2 demands one
    {Fault::kForbidden, 403, "", ""},
    {Fault::kNotFound, 404, "", ""},
    {Fault::kMethod, 405, "", ""},  // Allow is routes.cc's: it knows the methods
    {Fault::kSlowBody, 408, "", ""},
    {Fault::kLengthRequired, 411, "", ""},
    {Fault::kTooLarge, 413, "", ""},
    {Fault::kBusy, 429, "Retry-After", "1"},
    {Fault::kUnavailable, 503, "Retry-After", "5"},
    {Fault::kNotStarted, 500, "", ""},
    {Fault::kWorkerLost, 500, "", ""},
    {Fault::kSandbox, 500, "", ""},
    {Fault::kInternal, 500, "", ""},
});
static_assert([] {  // a row for each fault, at its place
  for (std::size_t i = 0; i < kFaults.size(); ++i) {
    if (static_cast<std::size_t>(kFaults[i].fault) != i) return false;
  }
  return kFaults.size() == static_cast<std::size_t>(Fault::kInternal) + 1;
}());

const FaultRow& row_of(Fault fault) { return kFaults[static_cast<std::size_t>(fault)]; }

}  // namespace

void CollectingSink::on_stdout(std::string_view bytes) { stdout_ += bytes; }
void CollectingSink::on_stderr(std::string_view bytes) { stderr_ += bytes; }
void CollectingSink::on_artifact(const ArtifactHeader& header) { artifacts_.push_back({header, {}}); }
void CollectingSink::on_artifact_data(std::string_view bytes) { artifacts_.back().content += bytes; }

void append_file(std::string& out, std::string_view content) {
  if (content.find('\0') == content.npos && is_utf8(content)) return append_json_quoted(out, content);
  out += R"({"content":")";
  out += encode_base64(content);
  out += R"(","encoding":"base64"})";
}

std::string format_run(const RunFacts& facts, const std::vector<ArtifactHeader>& skipped, const Limits& limits) {
  const ExitReport& report = facts.report;
  const Truncation truncated = find_truncation(report, limits);
  std::string out = fmt::format(R"({{"verdict":"{}","signal":{},"limit":{},"exception":{})",
                                verdict_name(report.verdict),
                                report.signal == 0 ? "null" : fmt::to_string(report.signal), limit_json(report.limit),
                                exception_json(report.exception));
  const auto end = std::back_inserter(out);
  fmt::format_to(end, R"(,"truncated":{{"stdout":{},"stderr":{}}},"stdout_bytes":{},"stderr_bytes":{})",
                 truncated.out, truncated.err, report.stdout_bytes, report.stderr_bytes);
  fmt::format_to(end, R"(,"artifacts_skipped":{},"denied":{})", skipped_json(skipped),
                 denied_json(report.denied));
  fmt::format_to(end, R"(,"usage":{{"queue_ms":{:.1f},"setup_ms":{:.1f},"run_ms":{:.1f},"collect_ms":{:.1f})",
                 to_ms(static_cast<std::uint64_t>(facts.queue.count())), to_ms(report.setup_us), to_ms(report.run_us),
                 to_ms(report.collect_us));
  fmt::format_to(end, R"(,"cpu_ms":{:.1f},"peak_memory_bytes":{}}})", to_ms(report.cpu_us), report.peak_memory_bytes);
  fmt::format_to(end, R"(,"limits":{{"timeout_s":{},"memory_bytes":{}}},"runner":"{}","sandbox":"{}"}})",
                 facts.timeout_ms / 1000, limits.memory_bytes, report.warm ? "warm" : "fresh",
                 facts.sandbox == SandboxLevel::kFull ? "full" : "reduced");
  return out;
}

HttpReply make_run_reply(const RunFacts& facts, const CollectingSink& output, const Limits& limits) {
  const Truncation truncated = find_truncation(facts.report, limits);
  const bool refused = facts.report.artifacts_refused;
  HttpReply reply;
  reply.status = refused ? 500 : 200;
  reply.headers.emplace_back(
      "Server-Timing", fmt::format("queue;dur={:.1f}, setup;dur={:.1f}, run;dur={:.1f}, collect;dur={:.1f}",
                                   to_ms(static_cast<std::uint64_t>(facts.queue.count())), to_ms(facts.report.setup_us),
                                   to_ms(facts.report.run_us), to_ms(facts.report.collect_us)));
  std::string& body = reply.body;
  body = "{";
  if (refused) {
    body += fmt::format(R"("error":"{}",)", format_artifacts_refusal(limits));
  }
  body += fmt::format(R"("exit_code":{},"stdout":)", facts.report.exit_code);
  append_json_quoted(body, decode_output(output.stdout_bytes(), truncated.out, limits.stdout_bytes));
  body += R"(,"stderr":)";
  append_json_quoted(body, decode_output(output.stderr_bytes(), truncated.err, limits.stderr_bytes) +
                               format_notes(facts.report, limits));
  if (!refused) {
    body += R"(,"artifacts":)";
    append_artifacts(body, output.artifacts());
  }
  if (facts.detail) body += R"(,"run":)" + format_run(facts, skipped_of(output), limits);
  body += '}';
  return reply;
}

ExitReport make_lost_report(const Error& error, OutputBytes output) {
  ExitReport report;
  report.exit_code = -1;
  report.verdict = Verdict::kInternalError;
  report.reason = error.message;
  report.stdout_bytes = output.out;
  report.stderr_bytes = output.err;
  return report;
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk: return "ok";
    case Verdict::kError: return "error";
    case Verdict::kTimeout: return "timeout";
    case Verdict::kOutOfMemory: return "out_of_memory";
    case Verdict::kKilled: return "killed";
    case Verdict::kInternalError: return "internal_error";
  }
  return "";
}

int status_of(Fault fault) { return row_of(fault).status; }

HttpReply make_error_reply(const Error& error, std::optional<std::chrono::seconds> retry_after) {
  const FaultRow& row = row_of(error.fault);
  HttpReply reply = make_error_reply(row.status, error.message);
  if (row.header.empty()) return reply;
  reply.headers.emplace_back(row.header, retry_after ? fmt::to_string(retry_after->count()) : std::string(row.value));
  return reply;
}

}  // namespace coderunner
