// Role: the events of a live answer, byte for byte.
#include "supervisor/reply_stream.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

// Takes everything at once.
class NotingStream : public HttpStream {
 public:
  void begin(const HttpReply& given) override { head = given; }
  void add(std::string_view piece) override { pieces.emplace_back(piece); }
  void end() override { ended = true; }
  [[nodiscard]] bool wants_write() const override { return false; }
  bool flush() override { return true; }
  [[nodiscard]] Bytes taken() const override { return 0; }

  HttpReply head;
  std::vector<std::string> pieces;
  bool ended = false;
};

RunFacts facts_of(int exit_code, Verdict verdict) {
  RunFacts facts;
  facts.report.exit_code = exit_code;
  facts.report.verdict = verdict;
  facts.timeout_ms = 60'000;
  facts.sandbox = SandboxLevel::kFull;
  return facts;
}

TEST_CASE("Server-Sent Events and lines of JSON say the same") {
  struct Row {
    ReplyForm form;
    std::string type;
    std::vector<std::string> pieces;
  };
  const Row rows[] = {
      {ReplyForm::kEvents, "text/event-stream",
       {"event: stdout\ndata: {\"data\":\"a\\n\\\"\"}\n\n", "event: stderr\ndata: {\"data\":\"e\"}\n\n",
        ": keep-alive\n\n", "event: artifact\ndata: {\"name\":\"empty\",\"file\":\"\"}\n\n",
        "event: artifact\ndata: {\"name\":\"b\",\"file\":{\"content\":\"AP8=\",\"encoding\":\"base64\"}}\n\n",
        "event: stderr\ndata: {\"data\":\"\\n[Error: Script timed out]\"}\n\n"}},
      {ReplyForm::kLines, "application/x-ndjson",
       {"{\"event\":\"stdout\",\"data\":\"a\\n\\\"\"}\n", "{\"event\":\"stderr\",\"data\":\"e\"}\n",
        "{\"event\":\"keepalive\"}\n", "{\"event\":\"artifact\",\"name\":\"empty\",\"file\":\"\"}\n",
        "{\"event\":\"artifact\",\"name\":\"b\",\"file\":{\"content\":\"AP8=\",\"encoding\":\"base64\"}}\n",
        "{\"event\":\"stderr\",\"data\":\"\\n[Error: Script timed out]\"}\n"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.type);
    NotingStream stream;
    const Limits limits;
    LiveSink sink(stream, row.form, limits);
    sink.begin(Micros(1500));
    CHECK(stream.head.status == 200);
    CHECK(stream.head.content_type == row.type);
    const std::vector<std::pair<std::string, std::string>> fields = {
        {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}, {"Server-Timing", "queue;dur=1.5"}};
    CHECK(stream.head.headers == fields);

    sink.on_stdout("a\n\"");
    sink.on_stderr("e");
    sink.on_silence();
    sink.on_artifact({"empty", 0, ""});
    sink.on_artifact({"link", 0, "symbolic link"});
    sink.on_artifact({"b", 2, ""});
    sink.on_artifact_data(std::string_view("\0", 1));
    sink.on_artifact_data("\xFF");
    sink.finish(facts_of(124, Verdict::kTimeout));
    CHECK(stream.ended);
    REQUIRE(stream.pieces.size() == row.pieces.size() + 1);
    const std::string last = stream.pieces.back();
    stream.pieces.pop_back();
    CHECK(stream.pieces == row.pieces);
    const std::string start = row.form == ReplyForm::kEvents ? "event: exit\ndata: {" : "{\"event\":\"exit\",";
    CHECK(last.starts_with(start + R"("exit_code":124,"run":{"verdict":"timeout",)"));
    CHECK(last.find(R"("artifacts_skipped":[{"name":"link","bytes":0,"reason":"symbolic link"}])") != last.npos);
    CHECK(last.ends_with(row.form == ReplyForm::kEvents ? "}}\n\n" : "}}\n"));
  }
}

TEST_CASE("a character that comes in pieces is sent when it is whole, and silence is not broken by half of one") {
  NotingStream stream;
  const Limits limits;
  LiveSink sink(stream, ReplyForm::kLines, limits);
  sink.begin(Micros(0));
  sink.on_stdout("x\xE2");
  sink.on_stdout("\x82");
  sink.on_stdout("\xAC");
  sink.on_stderr("\xF0\x9F");
  sink.finish(facts_of(0, Verdict::kOk));
  REQUIRE(stream.pieces.size() == 4);
  CHECK(stream.pieces[0] == "{\"event\":\"stdout\",\"data\":\"x\"}\n");
  CHECK(stream.pieces[1] == "{\"event\":\"stdout\",\"data\":\"\xE2\x82\xAC\"}\n");
  CHECK(stream.pieces[2] == "{\"event\":\"stderr\",\"data\":\"\xEF\xBF\xBD\"}\n");
}

TEST_CASE("artifacts above their limit and a lost worker end in an exit event") {
  NotingStream stream;
  const Limits limits;
  LiveSink sink(stream, ReplyForm::kLines, limits);
  sink.begin(Micros(0));
  RunFacts facts = facts_of(0, Verdict::kOk);
  facts.report.artifacts_refused = true;
  sink.finish(facts);
  REQUIRE(stream.pieces.size() == 1);
  CHECK(stream.pieces[0].starts_with(R"({"event":"exit","exit_code":0,)"
                                     R"("error":"Total artifacts too large: exceeds 10485760 bytes.","run":{)"));

  NotingStream second;
  LiveSink lost(second, ReplyForm::kLines, limits);
  lost.begin(Micros(0));
  lost.on_stdout("ab");
  lost.on_artifact({"half", 10, ""});
  lost.on_artifact_data("12345");
  RunFacts end = facts_of(0, Verdict::kOk);
  end.report = make_lost_report({Fault::kWorkerLost, "gone"}, lost.bytes());
  lost.finish(end);
  REQUIRE(second.pieces.size() == 3);
  CHECK(second.pieces[1] == "{\"event\":\"stderr\",\"data\":\"[Internal execution error] gone\"}\n");
  CHECK(second.pieces[2].starts_with(R"({"event":"exit","exit_code":-1,"run":{"verdict":"internal_error",)"));
  CHECK(second.pieces[2].find(R"("stdout_bytes":2,)") != std::string::npos);
}

TEST_CASE("silence begins anew with each event") {
  NotingStream stream;
  const Limits limits;
  LiveSink sink(stream, ReplyForm::kEvents, limits, Millis(0));
  CHECK_FALSE(sink.silent_until().passed());  // nothing has begun
  sink.begin(Micros(0));
  CHECK(sink.silent_until().passed());
  LiveSink patient(stream, ReplyForm::kEvents, limits, Millis(3'600'000));
  patient.begin(Micros(0));
  CHECK_FALSE(patient.silent_until().passed());
  CHECK(kKeepAliveAfter == Millis(15'000));
}

}  // namespace
}  // namespace coderunner
