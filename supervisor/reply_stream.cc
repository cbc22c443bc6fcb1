// Role: see reply_stream.h.
#include "supervisor/reply_stream.h"

#include <fmt/format.h>

#include "common/text.h"

namespace coderunner {
namespace {

struct FormRow {
  ReplyForm form;
  std::string_view content_type;
  std::string_view before_name, before_members, after;  // of an event
  std::string_view keep_alive;
};
constexpr FormRow kForms[] = {
    // A line that begins with a colon is a comment (HTML standard, section 9.2.6). JSON text holds no line's end.
    {ReplyForm::kEvents, "text/event-stream", "event: ", "\ndata: {", "}\n\n", ": keep-alive\n\n"},
    {ReplyForm::kLines, "application/x-ndjson", "{\"event\":\"", "\",", "}\n", "{\"event\":\"keepalive\"}\n"},
};

const FormRow& row_of(ReplyForm form) { return form == ReplyForm::kEvents ? kForms[0] : kForms[1]; }

}  // namespace

LiveSink::LiveSink(HttpStream& stream, ReplyForm form, const Limits& limits, Millis silence)
    : stream_(stream), form_(form), limits_(limits), silence_(silence), out_(limits.stdout_bytes),
      err_(limits.stderr_bytes) {}

void LiveSink::begin(Micros queue) {
  HttpReply head;
  head.content_type = row_of(form_).content_type;
  head.headers = {
      {"Cache-Control", "no-store"},
      {"X-Accel-Buffering", "no"},  // nginx would otherwise collect what is meant to be seen at once
      // The other times are not known yet; they are in the exit event.
      {"Server-Timing", fmt::format("queue;dur={:.1f}", static_cast<double>(queue.count()) / 1000)},
  };
  stream_.begin(head);
  begun_ = true;
  silent_until_ = Deadline::in(silence_);
}

void LiveSink::on_stdout(std::string_view bytes) { add_output("stdout", out_.feed(bytes)); }
void LiveSink::on_stderr(std::string_view bytes) { add_output("stderr", err_.feed(bytes)); }

void LiveSink::on_artifact(const ArtifactHeader& header) {
  if (!header.skipped.empty()) {
    skipped_.push_back(header);
    return;
  }
  artifact_ = {header, {}};
  if (header.bytes == 0) add_artifact();
}

void LiveSink::on_artifact_data(std::string_view bytes) {
  artifact_.content += bytes;
  if (artifact_.content.size() == artifact_.header.bytes) add_artifact();
}

void LiveSink::add_artifact() {
  std::string members = R"("name":)";
  append_json_quoted(members, names_.take(artifact_.header.name));
  members += R"(,"file":)";
  append_file(members, artifact_.content);
  artifact_ = {};
  add_event("artifact", members);
}

void LiveSink::finish(const RunFacts& facts) {
  const Truncation truncated = find_truncation(facts.report, limits_);
  add_output("stdout", out_.finish(truncated.out));
  add_output("stderr", err_.finish(truncated.err) + format_notes(facts.report, limits_));
  std::string members = fmt::format(R"("exit_code":{},)", facts.report.exit_code);
  if (facts.report.artifacts_refused) members += fmt::format(R"("error":"{}",)", format_artifacts_refusal(limits_));
  members += R"("run":)" + format_run(facts, skipped_, limits_);
  add_event("exit", members);
  stream_.end();
}

bool LiveSink::flush() {
  const Bytes before = stream_.taken();
  const bool there = stream_.flush();
  if (stream_.taken() != before) silent_until_ = Deadline::in(silence_);
  return there;
}

void LiveSink::on_silence() { send(row_of(form_).keep_alive); }

void LiveSink::add_output(std::string_view event, const std::string& text) {
  if (text.empty()) return;
  std::string members = R"("data":)";
  append_json_quoted(members, text);
  add_event(event, members);
}

void LiveSink::add_event(std::string_view event, std::string_view members) {
  const FormRow& row = row_of(form_);
  send(fmt::format("{}{}{}{}{}", row.before_name, event, row.before_members, members, row.after));
}

void LiveSink::send(std::string_view piece) {
  stream_.add(piece);
  silent_until_ = Deadline::in(silence_);
}

}  // namespace coderunner
