// Role: runs one request; see run_route.h.
#include "supervisor/run_route.h"

#include <optional>

#include "supervisor/accept.h"
#include "supervisor/dispatch.h"
#include "supervisor/reply_json.h"
#include "supervisor/reply_stream.h"
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

std::optional<HttpReply> RunRoute::turn_away(const HttpRequest& head) const {
  const auto admitted = check_gate(gate_request(head), config_.gate);
  return admitted ? std::nullopt : std::optional(make_error_reply(admitted.error()));
}

HttpReply RunRoute::answer(HttpRequest http) const {
  AuditRecord record = audit_.begin(http);
  if (auto admitted = check_gate(gate_request(http), config_.gate); !admitted) {
    return refuse(AuditEvent::kRejected, record, http, admitted.error());
  }
  auto request = parse_request(request_source(http), config_.limits);
  if (!request) return refuse(AuditEvent::kRejected, record, http, request.error());
  request->job.packages = imports_packages(*request, config_.standard_modules);
  std::string().swap(http.body);  // the request has its own copy, and the wait may be long
  if (http.held != nullptr) http.held->shrink_to(count_bytes(*request));

  record.event = AuditEvent::kStarted;
  record.script = describe_script(*request);
  audit_.write(record);
  HttpReply reply = run(http, *request, std::move(record));
  reply.mode = mode_name(request->mode);
  return reply;
}

HttpReply RunRoute::run(const HttpRequest& http, const RunRequest& request, AuditRecord record) const {
  const Bytes bytes = count_bytes(request);
  CollectingSink collected;
  std::optional<LiveSink> live;
  if (const ReplyForm form = choose_reply_form(http); form != ReplyForm::kPlain)
    live.emplace(*http.stream, form, config_.limits);
  MeteredSink sink(live ? static_cast<JobSink&>(*live) : collected, metrics_);
  const auto on_lease = [&](Micros queued) {
    if (http.held != nullptr) http.held->shrink_to(0);  // it waits no more
    if (live && !live->begun()) live->begin(queued);
  };
  auto [report, queued] = dispatch_job(pool_, bytes, request, sink,
                                       {.client_fd = http.client_fd, .drain_now = config_.drain_now}, on_lease);
  const bool turned_away = !report && !(live && live->begun()) &&
                           (report.error().fault == Fault::kBusy || report.error().fault == Fault::kUnavailable);
  if (!turned_away) {
    metrics_.count_input(bytes);
    metrics_.count_queue_time(queued);
  }
  if (!report) {
    switch (report.error().fault) {
      case Fault::kClient: return refuse(AuditEvent::kError, record, http, report.error());  // nobody reads the answer
      case Fault::kBusy:
      case Fault::kUnavailable:
        if (live && live->begun()) break;  // the head of the answer is out
        return refuse(AuditEvent::kRejected, record, http, report.error());
      default: break;
    }
  }
  RunFacts facts{.report = {}, .detail = request.detail, .queue = queued, .timeout_ms = request.job.timeout_ms};
  facts.report =
      report ? std::move(*report) : make_lost_report(report.error(), live ? live->bytes() : collected.bytes());
  if (facts.detail || live) {
    if (const auto ready = pool_.health().report) facts.sandbox = ready->level;
  }
  metrics_.count_run(facts.report);
  log_end(record, http, facts.report);
  if (!live) return make_run_reply(facts, collected, config_.limits);
  live->finish(facts);
  return {};
}

HttpReply RunRoute::refuse(AuditEvent event, AuditRecord record, const HttpRequest& http, const Error& error) const {
  record.event = event;
  record.duration = since(http.arrived);
  record.error = error.message;
  audit_.write(record);
  if (record.script && error.fault == Fault::kClient) metrics_.count_cancelled();  // understood, so its client is gone
  if (error.fault == Fault::kBusy) return make_error_reply(error, pool_.estimate_wait());
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
