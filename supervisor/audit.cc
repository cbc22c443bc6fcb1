// Role: formats and writes audit lines; see audit.h.
#include "supervisor/audit.h"

#include <openssl/sha.h>
#include <poll.h>

#include <algorithm>
#include <array>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "common/sys.h"
#include "common/text.h"

namespace coderunner {
namespace {

std::string_view event_name(AuditEvent event) {
  switch (event) {
    case AuditEvent::kStarted: return "execution_started";
    case AuditEvent::kCompleted: return "execution_completed";
    case AuditEvent::kRejected: return "request_rejected";
    case AuditEvent::kError: return "execution_error";
  }
  return "";
}

std::string format_time(std::chrono::system_clock::time_point now) {  // RFC 3339
  const auto millis = std::chrono::duration_cast<Millis>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), millis);
}

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

}  // namespace

ScriptFacts describe_script(const RunRequest& request) {
  const auto entry = std::ranges::find(request.files, request.job.entry_point, &InputFile::path);
  const std::string_view script = entry == request.files.end() ? std::string_view() : std::string_view(entry->content);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(script.data()), script.size(), digest.data());
  std::uint64_t start = 0;
  for (int i = 0; i < 8; ++i) start = start << 8 | digest[i];
  return {.sha256 = fmt::format("{:016x}", start),
          .bytes = script.size(),
          .timeout_s = request.job.timeout_ms / 1000,
          .context_files = request.context_files};
}

std::string format_audit_line(const AuditRecord& record, std::chrono::system_clock::time_point now) {
  std::string line = fmt::format(R"({{"time":"{}","event":"{}","request_id":{},"client_ip":{})", format_time(now),
                                 event_name(record.event), quote(record.request_id), quote(record.client_ip));
  const auto out = std::back_inserter(line);
  if (const auto& script = record.script) {
    fmt::format_to(out, R"(,"script_sha256":"{}","script_size_bytes":{},"timeout_s":{},"context_files":{})",
                   script->sha256, script->bytes, script->timeout_s, script->context_files);
  }
  if (record.duration) {
    fmt::format_to(out, R"(,"duration_ms":{:.1f})", static_cast<double>(record.duration->count()) / 1000);
  }
  if (record.exit_code) fmt::format_to(out, R"(,"exit_code":{})", *record.exit_code);
  if (!record.error.empty()) {
    const std::string_view start = std::string_view(record.error).substr(0, kMaxAuditError);
    fmt::format_to(out, R"(,"error":{})", quote(drop_incomplete_utf8(start)));
  }
  line += '}';
  return line;
}

void FdAuditSink::write_line(std::string_view line) {
  const std::lock_guard lock(mutex_);
  std::string text;
  if (lost_ > 0) {
    text = fmt::format("{{\"time\":\"{}\",\"event\":\"audit_lines_lost\",\"count\":{}}}\n",
                       format_time(std::chrono::system_clock::now()), lost_);
  }
  text += line;
  // Once a line has been lost nobody waits any more, or a stuck reader would slow every request.
  lost_ = write_now(text, lost_ > 0 ? Millis(0) : kPatience) ? 0 : lost_ + 1;
}

bool FdAuditSink::write_now(std::string_view line, Millis patience) {
  // A pipe that polls as writable takes PIPE_BUF bytes without waiting (pipe(7)); files and terminals always do.
  pollfd entry{fd_, POLLOUT, 0};
  const auto ready = sys::poll({&entry, 1}, Deadline::in(patience));
  if (!ready || *ready == 0 || (entry.revents & POLLOUT) == 0) return false;
  const auto written = sys::write_some(fd_, line);
  return written && *written == line.size();
}

AuditRecord AuditLog::begin(const HttpRequest& request) const {
  AuditRecord record;
  record.request_id = request.request_id;
  record.client_ip = choose_client_ip(proxies_, request.peer_ip, request.header("X-Forwarded-For"));
  return record;
}

void AuditLog::write_refusal(const HttpRequest& request, const HttpReply& reply) {
  AuditRecord record = begin(request);
  record.event = reply.status >= 500 ? AuditEvent::kError : AuditEvent::kRejected;
  record.duration = since(request.arrived);
  record.error = reply.error;
  write(record);
}

void AuditLog::write(const AuditRecord& record) {
  sink_.write_line(format_audit_line(record, std::chrono::system_clock::now()) + "\n");
}

}  // namespace coderunner
