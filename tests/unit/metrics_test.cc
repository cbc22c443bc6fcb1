// Role: what counting does to the page, and that wrappers count once and hand on. Real runs are the contract tests'.
#include "supervisor/metrics.h"

#include <doctest/doctest.h>

#include <string>

namespace coderunner {
namespace {

std::string page_of(const Metrics& metrics, const PoolHealth& health = {}) {
  const HttpReply reply = metrics.make_page(health, 4096, "1.2.3");
  CHECK(reply.status == 200);
  return "\n" + reply.body;
}

bool has(const std::string& page, std::string_view line) {
  return page.find("\n" + std::string(line) + "\n") != page.npos;
}

TEST_CASE("what is known beforehand is there with 0") {
  const std::string page = page_of(Metrics({"/a"}));
  for (const std::string_view verdict :
       {"ok", "error", "timeout", "out_of_memory", "killed", "internal_error", "cancelled"}) {
    CHECK(has(page, "coderunner_jobs_total{verdict=\"" + std::string(verdict) + "\"} 0"));
  }
  CHECK(has(page, "coderunner_run_seconds_count 0"));
  CHECK(has(page, R"(coderunner_build_info{version="1.2.3"} 1)"));
  CHECK(has(page, "coderunner_held_bytes 4096"));
}

TEST_CASE("paths of clients make no series of their own") {
  Metrics metrics({"/a"});
  metrics.count_request("/a", "raw", 200);
  metrics.count_request("/a", "", 400);
  for (const std::string_view path : {"/b", "", "/a/", "/\n\""}) metrics.count_request(path, "", 404);
  const std::string page = page_of(metrics);
  CHECK(has(page, R"(coderunner_http_requests_total{mode="raw",path="/a",status="200"} 1)"));
  CHECK(has(page, R"(coderunner_http_requests_total{mode="none",path="/a",status="400"} 1)"));
  CHECK(has(page, R"(coderunner_http_requests_total{mode="none",path="other",status="404"} 4)"));
}

TEST_CASE("a run counts its verdict, its runner and its times; a lost one its verdict alone") {
  Metrics metrics({});
  ExitReport report;
  report.verdict = Verdict::kTimeout;
  report.warm = true;
  report.setup_us = 2'000;
  report.run_us = 1'500'000;
  report.cpu_us = 500'000;
  metrics.count_run(report);
  report.verdict = Verdict::kInternalError;
  metrics.count_run(report);
  metrics.count_queue_time(Micros{20'000});
  const std::string page = page_of(metrics);
  CHECK(has(page, R"(coderunner_jobs_total{verdict="timeout"} 1)"));
  CHECK(has(page, R"(coderunner_jobs_total{verdict="internal_error"} 1)"));
  CHECK(has(page, R"(coderunner_runners_total{runner="warm"} 1)"));
  CHECK(has(page, R"(coderunner_runners_total{runner="fresh"} 0)"));
  CHECK(has(page, R"(coderunner_setup_seconds_bucket{le="0.001"} 0)"));
  CHECK(has(page, R"(coderunner_setup_seconds_bucket{le="0.0025"} 1)"));
  CHECK(has(page, "coderunner_run_seconds_sum 1.5"));
  CHECK(has(page, "coderunner_job_cpu_seconds_total 0.5"));
  CHECK(has(page, "coderunner_job_peak_memory_bytes_count 0"));  // 0: the machine can not tell
  CHECK(has(page, "coderunner_queue_seconds_sum 0.02"));
}

TEST_CASE("the pool's figures are those of the moment") {
  PoolHealth health;
  health.busy = 3;
  health.resetting = 2;
  health.queued = 5;
  health.queued_bytes = 12'345'678'901;
  health.births = 7;
  health.respawns = 4;
  health.leaks = 1;
  health.templates = {.births = 8, .losses = 2, .forks = 90};
  health.draining = true;
  const std::string page = page_of(Metrics({}), health);
  for (const std::string_view line :
       {R"(coderunner_workers{state="ready"} 0)", R"(coderunner_workers{state="busy"} 3)",
        R"(coderunner_workers{state="resetting"} 2)", "coderunner_jobs_running 3", "coderunner_queue_jobs 5",
        "coderunner_queue_bytes 12345678901", "coderunner_worker_births_total 7", "coderunner_worker_respawns_total 4",
        "coderunner_template_births_total 8", "coderunner_template_losses_total 2",
        "coderunner_template_forks_total 90", "coderunner_leaks_total 1", "coderunner_draining 1"}) {
    CAPTURE(line);
    CHECK(has(page, line));
  }
}

struct Recorder : JobSink, HttpHandler {
  void on_stdout(std::string_view bytes) override { heard += "o" + std::string(bytes); }
  void on_stderr(std::string_view bytes) override { heard += "e" + std::string(bytes); }
  void on_artifact(const ArtifactHeader& header) override { heard += "a" + header.name; }
  void on_artifact_data(std::string_view bytes) override { heard += "d" + std::string(bytes); }
  std::optional<HttpReply> refuse(const HttpRequest&) override { return make_error_reply(418, "no"); }
  HttpReply answer(HttpRequest request) override {
    heard += request.path;
    HttpReply reply;
    reply.status = 201;
    reply.mode = "files";
    return reply;
  }
  HttpReply refuse_busy(const HttpRequest&) override { return make_error_reply(429, "busy"); }
  void on_refused(const HttpRequest& request, const HttpReply&) override { heard += "r" + request.path; }
  [[nodiscard]] bool wants_write() const override { return true; }
  bool flush() override {
    heard += "f";
    return false;
  }
  [[nodiscard]] Bytes taken() const override { return 7; }
  [[nodiscard]] Deadline silent_until() const override { return Deadline::in(Millis(0)); }
  void on_silence() override { heard += "s"; }
  std::string heard;
};

TEST_CASE("a metered sink counts and hands on") {
  Metrics metrics({});
  Recorder inner;
  MeteredSink sink(inner, metrics);
  sink.on_stdout("12");
  sink.on_stderr("345");
  sink.on_artifact({.name = "n", .bytes = 4, .skipped = {}});
  sink.on_artifact_data("6789");
  CHECK(sink.wants_write());
  CHECK_FALSE(sink.flush());
  CHECK(sink.taken() == 7);
  CHECK(sink.silent_until().passed());
  sink.on_silence();
  CHECK(inner.heard == "o12e345and6789fs");
  const std::string page = page_of(metrics);
  CHECK(has(page, R"(coderunner_output_bytes_total{kind="stdout"} 2)"));
  CHECK(has(page, R"(coderunner_output_bytes_total{kind="stderr"} 3)"));
  CHECK(has(page, R"(coderunner_output_bytes_total{kind="artifacts"} 4)"));
}

TEST_CASE("a metered handler counts each answer and each refusal once") {
  Metrics metrics({"/a"});
  Recorder inner;
  MeteredHandler handler(inner, metrics);
  HttpRequest request;
  request.path = "/a";
  CHECK(handler.refuse(request)->status == 418);  // counted when the server tells of it, below
  CHECK(handler.refuse_busy(request).status == 429);
  handler.on_refused(request, make_error_reply(418, "no"));
  CHECK(handler.answer(request).status == 201);
  CHECK(inner.heard == "r/a/a");
  const std::string page = page_of(metrics);
  CHECK(has(page, R"(coderunner_http_requests_total{mode="none",path="/a",status="418"} 1)"));
  CHECK(has(page, R"(coderunner_http_requests_total{mode="files",path="/a",status="201"} 1)"));
}

}  // namespace
}  // namespace coderunner
