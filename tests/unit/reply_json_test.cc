// Role: every row of the contract's answer: exit codes and notes, text and bytes, detail, errors.
#include "supervisor/reply_json.h"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <string>

namespace coderunner {
namespace {

using namespace std::string_literals;

ExitReport report_of(int exit_code, Verdict verdict) {
  ExitReport report;
  report.exit_code = exit_code;
  report.verdict = verdict;
  return report;
}

void add_artifact(CollectingSink& sink, const std::string& name, std::string_view content) {
  sink.on_artifact({.name = name, .bytes = content.size(), .skipped = ""});
  if (!content.empty()) sink.on_artifact_data(content);
}

// The members of an answer, parsed by somebody else's parser.
struct Parsed {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  explicit Parsed(const HttpReply& reply) { REQUIRE(parser.parse(reply.body).get(root) == simdjson::SUCCESS); }
  std::string text(std::string_view pointer) { return std::string(std::string_view(root.at_pointer(pointer).value())); }
  double number(std::string_view pointer) { return root.at_pointer(pointer).get_double(); }
  bool flag(std::string_view pointer) { return root.at_pointer(pointer).value(); }
  bool null(std::string_view pointer) { return root.at_pointer(pointer).value().is_null(); }
};

TEST_CASE("the answer is the contract's, byte for byte") {
  CollectingSink sink;
  sink.on_stdout("2\n");
  add_artifact(sink, "sum.txt", "6");
  const HttpReply reply = make_run_reply({.report = report_of(0, Verdict::kOk)}, sink, Limits{});
  CHECK(reply.status == 200);
  CHECK(reply.content_type == "application/json");
  CHECK(reply.body == R"({"exit_code":0,"stdout":"2\n","stderr":"","artifacts":{"sum.txt":"6"}})");
}

TEST_CASE("what each way of ending adds to stderr") {
  struct Row {
    int exit_code;
    Verdict verdict;
    std::string added;
  };
  const Row rows[] = {
      {0, Verdict::kOk, ""},
      {1, Verdict::kError, ""},
      {255, Verdict::kError, ""},
      {124, Verdict::kError, ""},  // of the script's own will
      {137, Verdict::kError, ""},
      {139, Verdict::kKilled, ""},
      {137, Verdict::kKilled, ""},
      {124, Verdict::kTimeout, "\n[Error: Script timed out]"},
      {137, Verdict::kOutOfMemory, "\n[Error: Out of memory]"},
      {-1, Verdict::kInternalError, "[Internal execution error] mounts: EPERM"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.exit_code);
    CollectingSink sink;
    sink.on_stderr("said");
    ExitReport report = report_of(row.exit_code, row.verdict);
    report.reason = row.exit_code == -1 ? "mounts: EPERM" : "";
    Parsed parsed(make_run_reply({.report = report}, sink, Limits{}));
    CHECK(parsed.number("/exit_code") == row.exit_code);
    CHECK(parsed.text("/stderr") == "said" + row.added);
  }
}

TEST_CASE("truncation is said last, stdout's before stderr's, and no character is split by it") {
  Limits limits;
  limits.stdout_bytes = 6;
  limits.stderr_bytes = 4;
  CollectingSink sink;
  sink.on_stdout("abcd\xE2\x82");      // the euro sign, cut by the limit
  sink.on_stderr("xyz\xC3");           // cut by the limit; then the stack, which the worker sends beyond it
  sink.on_stderr("\nstack");
  ExitReport report = report_of(124, Verdict::kTimeout);
  report.stdout_bytes = 7;
  report.stderr_bytes = 5;
  Parsed both(make_run_reply({.report = report}, sink, limits));
  CHECK(both.text("/stdout") == "abcd");
  CHECK(both.text("/stderr") == "xyz\nstack\n[Error: Script timed out]\n[Truncated: stdout exceeded 6 bytes]"
                                "\n[Truncated: stderr exceeded 4 bytes]");

  // Exactly the limit is not above it, and an incomplete character that the script wrote is its own.
  report = report_of(0, Verdict::kOk);
  report.stdout_bytes = 6;
  CollectingSink full;
  full.on_stdout("abcd\xE2\x82");
  Parsed exact(make_run_reply({.report = report}, full, limits));
  CHECK(exact.text("/stdout") == "abcd\uFFFD");
  CHECK(exact.text("/stderr") == "");
}

TEST_CASE("output that is not UTF-8 is replaced as Python does") {
  CollectingSink sink;
  sink.on_stdout("a\xFF\xE2\x82z\"\\\x01\0"s);
  Parsed parsed(make_run_reply({.report = report_of(0, Verdict::kOk)}, sink, Limits{}));
  CHECK(parsed.text("/stdout") == "a\uFFFD\uFFFDz\"\\\x01\0"s);
}

TEST_CASE("an artifact is text where it is text, else base64") {
  CollectingSink sink;
  add_artifact(sink, "empty", "");
  add_artifact(sink, "dir/plain.txt", "h\u00e9\n");
  add_artifact(sink, "nul", "a\0b"s);
  add_artifact(sink, "latin", "h\xE9");
  add_artifact(sink, "n\xFFme \"x\"", "1");
  sink.on_artifact({.name = "big.bin", .bytes = 20971520, .skipped = "too large"});
  const HttpReply reply = make_run_reply({.report = report_of(0, Verdict::kOk)}, sink, Limits{});
  CHECK(reply.body.substr(reply.body.find("\"artifacts\":")) ==
        "\"artifacts\":{\"empty\":\"\",\"dir/plain.txt\":\"h\u00e9\\n\",\"nul\":"
        "{\"content\":\"YQBi\",\"encoding\":\"base64\"},"
        "\"latin\":{\"content\":\"aOk=\",\"encoding\":\"base64\"},\"n\uFFFDme \\\"x\\\"\":\"1\"}}");
}

TEST_CASE("artifacts whose names look the same differ in the answer") {
  CollectingSink sink;
  for (const char* name : {"a\xFD", "a\xFE", "a\uFFFD (2)", "b"}) add_artifact(sink, name, "");
  const HttpReply reply = make_run_reply({.report = report_of(0, Verdict::kOk)}, sink, Limits{});
  CHECK(reply.body.substr(reply.body.find("\"artifacts\":")) ==
        "\"artifacts\":{\"a\uFFFD\":\"\",\"a\uFFFD (2)\":\"\",\"a\uFFFD (2) (2)\":\"\",\"b\":\"\"}}");
}

TEST_CASE("an artifact in pieces is put together") {
  CollectingSink sink;
  sink.on_artifact({.name = "a", .bytes = 4, .skipped = ""});
  sink.on_artifact_data("ab");
  sink.on_artifact_data("cd");
  add_artifact(sink, "b", "e");
  Parsed parsed(make_run_reply({.report = report_of(0, Verdict::kOk)}, sink, Limits{}));
  CHECK(parsed.text("/artifacts/a") == "abcd");
  CHECK(parsed.text("/artifacts/b") == "e");
}

TEST_CASE("an artifact that a lost worker has cut off is not returned") {
  CollectingSink sink;
  add_artifact(sink, "whole", "w");
  sink.on_artifact({.name = "half", .bytes = 10, .skipped = ""});
  sink.on_artifact_data("01234");
  const ExitReport lost = make_lost_report({Fault::kWorkerLost, "the worker died"}, sink.bytes());
  const HttpReply reply = make_run_reply({.report = lost}, sink, Limits{});
  CHECK(reply.body.ends_with(R"("artifacts":{"whole":"w"}})"));
}

TEST_CASE("artifacts above the limit: 500, and the output is not lost") {
  CollectingSink sink;
  sink.on_stdout("out");
  sink.on_stderr("err");
  sink.on_artifact({.name = "big.bin", .bytes = 20971520, .skipped = "too large"});
  ExitReport report = report_of(3, Verdict::kError);
  report.artifacts_refused = true;
  const HttpReply reply = make_run_reply({.report = report}, sink, Limits{});
  CHECK(reply.status == 500);
  CHECK(reply.body == R"({"error":"Total artifacts too large: exceeds 10485760 bytes.",)"
                      R"("exit_code":3,"stdout":"out","stderr":"err"})");

  const HttpReply detailed = make_run_reply({.report = report, .detail = true}, sink, Limits{});
  CHECK(detailed.status == 500);
  Parsed parsed(detailed);
  CHECK(parsed.text("/run/artifacts_skipped/0/name") == "big.bin");
  CHECK(parsed.number("/run/artifacts_skipped/0/bytes") == 20971520);
  CHECK(parsed.text("/run/artifacts_skipped/0/reason") == "too large");
}

TEST_CASE("detail adds the run member, with each of its own") {
  CollectingSink sink;
  ExitReport report = report_of(1, Verdict::kError);
  report.exception = ExceptionInfo{"ValueError", "bad \"x\"\xFF", "script.py", 3, "int('x')"};
  report.limit = LimitName::kScratch;
  report.signal = 11;
  report.stdout_bytes = 14;
  report.stderr_bytes = 10485761;
  report.denied = {"connect", "ptrace"};
  report.warm = true;
  report.setup_us = 1049;
  report.run_us = 3251;
  report.collect_us = 90;
  report.cpu_us = 2900;
  report.peak_memory_bytes = 9437184;
  const RunFacts facts{.report = report, .detail = true, .queue = Micros(120), .timeout_ms = 60'000,
                       .sandbox = SandboxLevel::kFull};
  const HttpReply reply = make_run_reply(facts, sink, Limits{});
  const std::string run = reply.body.substr(reply.body.find("\"run\":"));
  CHECK(run ==
        "\"run\":{\"verdict\":\"error\",\"signal\":11,\"limit\":\"scratch\","
        "\"exception\":{\"type\":\"ValueError\",\"message\":\"bad \\\"x\\\"\uFFFD\",\"file\":\"script.py\",\"line\":3,"
        "\"source\":\"int('x')\"},\"truncated\":{\"stdout\":false,\"stderr\":true},\"stdout_bytes\":14,"
        "\"stderr_bytes\":10485761,\"artifacts_skipped\":[],\"denied\":[\"connect\",\"ptrace\"],"
        "\"usage\":{\"queue_ms\":0.1,\"setup_ms\":1.0,\"run_ms\":3.3,\"collect_ms\":0.1,\"cpu_ms\":2.9,"
        "\"peak_memory_bytes\":9437184},\"limits\":{\"timeout_s\":60,\"memory_bytes\":1610612736},"
        "\"runner\":\"warm\",\"sandbox\":\"full\"}}");
  REQUIRE(reply.headers.size() == 1);
  CHECK(reply.headers[0].first == "Server-Timing");
  CHECK(reply.headers[0].second == "queue;dur=0.1, setup;dur=1.0, run;dur=3.3, collect;dur=0.1");
}

TEST_CASE("detail of a plain run: what was not is null") {
  CollectingSink sink;
  Parsed parsed(make_run_reply({.report = report_of(0, Verdict::kOk), .detail = true}, sink, Limits{}));
  CHECK(parsed.text("/run/verdict") == "ok");
  CHECK(parsed.null("/run/signal"));
  CHECK(parsed.null("/run/limit"));
  CHECK(parsed.null("/run/exception"));
  CHECK_FALSE(parsed.flag("/run/truncated/stdout"));
  CHECK(parsed.text("/run/runner") == "fresh");
  CHECK(parsed.text("/run/sandbox") == "reduced");
}

TEST_CASE("verdicts and limits have the contract's names") {
  const std::pair<Verdict, std::string> verdicts[] = {
      {Verdict::kOk, "ok"}, {Verdict::kError, "error"}, {Verdict::kTimeout, "timeout"},
      {Verdict::kOutOfMemory, "out_of_memory"}, {Verdict::kKilled, "killed"},
      {Verdict::kInternalError, "internal_error"}};
  const std::pair<LimitName, std::string> limits[] = {
      {LimitName::kTimeout, "timeout"}, {LimitName::kMemory, "memory"}, {LimitName::kArtifacts, "artifacts"},
      {LimitName::kScratch, "scratch"}, {LimitName::kProcesses, "processes"}};
  CollectingSink sink;
  for (const auto& [verdict, name] : verdicts) {
    Parsed parsed(make_run_reply({.report = report_of(0, verdict), .detail = true}, sink, Limits{}));
    CHECK(parsed.text("/run/verdict") == name);
  }
  for (const auto& [limit, name] : limits) {
    ExitReport report = report_of(0, Verdict::kOk);
    report.limit = limit;
    Parsed parsed(make_run_reply({.report = report, .detail = true}, sink, Limits{}));
    CHECK(parsed.text("/run/limit") == name);
  }
}

TEST_CASE("a lost worker is an answer with what had come") {
  CollectingSink sink;
  sink.on_stdout("so far");
  sink.on_stderr("warned\n");
  const ExitReport lost = make_lost_report({Fault::kWorkerLost, "the worker died"}, sink.bytes());
  CHECK(make_run_reply({.report = lost}, sink, Limits{}).body ==
        R"({"exit_code":-1,"stdout":"so far","stderr":"warned\n[Internal execution error] the worker died",)"
        R"("artifacts":{}})");
  CHECK(lost.stdout_bytes == 6);
}

TEST_CASE("each fault has its status, and says when to come back where that helps") {
  struct Row {
    Fault fault;
    int status;
    std::string header;
  };
  const Row rows[] = {
      {Fault::kClient, 400, ""},         {Fault::kUnauthorized, 401, "WWW-Authenticate"},
      {Fault::kForbidden, 403, ""},      {Fault::kNotFound, 404, ""},
      {Fault::kMethod, 405, ""},         {Fault::kSlowBody, 408, ""},
      {Fault::kLengthRequired, 411, ""}, {Fault::kTooLarge, 413, ""},
      {Fault::kBusy, 429, "Retry-After"}, {Fault::kUnavailable, 503, "Retry-After"},
      {Fault::kNotStarted, 500, ""},     {Fault::kWorkerLost, 500, ""},
      {Fault::kSandbox, 500, ""},       {Fault::kInternal, 500, ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.status);
    const HttpReply reply = make_error_reply({row.fault, "why \"so\"\xFF"});
    CHECK(reply.status == row.status);
    CHECK(reply.body == "{\"error\":\"why \\\"so\\\"\uFFFD\"}");
    CHECK((reply.headers.empty() ? "" : reply.headers[0].first) == row.header);
  }
}

}  // namespace
}  // namespace coderunner
