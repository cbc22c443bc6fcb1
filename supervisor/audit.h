// Role: the audit log: one JSON object a line for what happens to each request.
// Callers: run_route.cc and routes.cc write; main.cc makes it.
// Law: never the script, its output or a key. A log that cannot be written costs lines, which are counted and said
// later; it never costs a request more than a moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "common/units.h"
#include "supervisor/http.h"
#include "supervisor/peer_ip.h"
#include "supervisor/request.h"

namespace coderunner {

enum class AuditEvent { kStarted, kCompleted, kRejected, kError };

// What is said of a script instead of the script.
struct ScriptFacts {
  std::string sha256;  // the first 16 hex digits
  std::size_t bytes = 0;
  std::uint64_t timeout_s = 0;
  std::size_t context_files = 0;
};
ScriptFacts describe_script(const RunRequest& request);

struct AuditRecord {
  AuditEvent event = AuditEvent::kRejected;
  std::string request_id;
  std::string client_ip;
  std::optional<ScriptFacts> script{};  // once the request has been understood
  std::optional<Micros> duration{};     // since the request came
  std::optional<int> exit_code{};
  std::string error{};  // empty: none. Cut to kMaxAuditError bytes
};

// Keeps a line below PIPE_BUF, so that write(2) keeps it whole (pipe(7)), even with every byte escaped.
inline constexpr std::size_t kMaxAuditError = 500;

// {"time":"2025-01-31T12:00:00.000Z","event":"execution_started",…}, without the line's end.
std::string format_audit_line(const AuditRecord& record, std::chrono::system_clock::time_point now);

class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void write_line(std::string_view line) = 0;  // with its end; from many threads at once
};

// One write(2) a line. A closed descriptor loses lines; so does a full pipe, after kPatience for the first one.
class FdAuditSink : public AuditSink {
 public:
  explicit FdAuditSink(int fd) : fd_(fd) {}
  void write_line(std::string_view line) override;

 private:
  static constexpr Millis kPatience{200};
  bool write_now(std::string_view line, Millis patience);

  const int fd_;
  std::mutex mutex_;
  std::uint64_t lost_ = 0;  // lines since the last one that was written
};

class AuditLog {
 public:
  AuditLog(AuditSink& sink, TrustedProxies proxies) : sink_(sink), proxies_(std::move(proxies)) {}

  // A record that says whose request it is.
  [[nodiscard]] AuditRecord begin(const HttpRequest& request) const;
  void write(const AuditRecord& record);
  // For HttpHandler::on_refused.
  void write_refusal(const HttpRequest& request, const HttpReply& reply);

 private:
  AuditSink& sink_;
  const TrustedProxies proxies_;
};

}  // namespace coderunner
