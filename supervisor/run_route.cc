// Role: runs one request; see run_route.h.
#include "supervisor/run_route.h"

#include "supervisor/dispatch.h"
#include "supervisor/reply_json.h"
#include "supervisor/request.h"

namespace coderunner {
namespace {

GateRequest gate_request(const HttpRequest& http) {
  return {.functions_key = http.header("x-functions-key"),
          .authorization = http.header("Authorization"),
          .code = http.param("code"),
          .origin = http.header("Origin"),
          .host = http.header("Host")};
}

RequestSource request_source(const HttpRequest& http) {
  const auto timeout = http.param("timeout_s");
  return {.content_type = http.header("Content-Type").value_or(std::string_view()),
          .timeout_param = timeout.value_or(std::string_view()),
          .has_timeout_param = timeout.has_value(),
          .body = http.body};
}

Bytes count_bytes(const RunRequest& request) {
  Bytes bytes = request.stdin_bytes.size();
  for (const InputFile& file : request.files) bytes += file.path.size() + file.content.size();
  return bytes;
}

}  // namespace

HttpReply RunRoute::answer(HttpRequest http) const {
  AuditRecord record = audit_.begin(http);
  if (auto admitted = check_gate(gate_request(http), config_.gate); !admitted) {
    return refuse(AuditEvent::kRejected, record, http, admitted.error());
  }
  auto request = parse_request(request_source(http), config_.limits);
  if (!request) return refuse(AuditEvent::kRejected, record, http, request.error());
  std::string().swap(http.body);  // the request has its own copy, and the wait may be long

  record.event = AuditEvent::kStarted;
  record.script = describe_script(*request);
  audit_.write(record);
  HttpReply reply = run(http, *request, std::move(record));
  reply.mode = mode_name(request->mode);
  return reply;
}

HttpReply RunRoute::run(const HttpRequest& http, const RunRequest& request, AuditRecord record) const {
  const Bytes bytes = count_bytes(request);
  metrics_.count_input(bytes);
  CollectingSink output;
  MeteredSink sink(output, metrics_);
  auto [report, queued] = dispatch_job(pool_, bytes, request, sink,
                                       {.client_fd = http.client_fd, .drain_now = config_.drain_now});
  metrics_.count_queue_time(queued);
  if (!report) {
    switch (report.error().fault) {
      case Fault::kClient: return refuse(AuditEvent::kError, record, http, report.error());  // nobody reads the answer
      case Fault::kBusy:
      case Fault::kUnavailable: return refuse(AuditEvent::kRejected, record, http, report.error());
      default: break;
    }
  }
  RunFacts facts{.report = {}, .detail = request.detail, .queue = queued, .timeout_ms = request.job.timeout_ms};
  facts.report = report ? std::move(*report) : make_lost_report(report.error(), output);
  if (facts.detail) {
    if (const auto ready = pool_.health().report) facts.sandbox = ready->level;
  }
  metrics_.count_run(facts.report);
  log_end(record, http, facts.report);
  return make_run_reply(facts, output, config_.limits);
}

HttpReply RunRoute::refuse(AuditEvent event, AuditRecord record, const HttpRequest& http, const Error& error) const {
  record.event = event;
  record.duration = since(http.arrived);
  record.error = error.message;
  audit_.write(record);
  if (record.script && error.fault == Fault::kClient) metrics_.count_cancelled();  // understood, so its client is gone
  return make_error_reply(error);
}

void RunRoute::log_end(AuditRecord record, const HttpRequest& http, const ExitReport& report) const {
  record.event = report.verdict == Verdict::kInternalError ? AuditEvent::kError : AuditEvent::kCompleted;
  record.duration = since(http.arrived);
  record.exit_code = report.exit_code;
  record.error = report.artifacts_refused ? "artifacts refused: above their limit" : report.reason;
  audit_.write(record);
}

}  // namespace coderunner
