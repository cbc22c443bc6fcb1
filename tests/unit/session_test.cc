// Role: the order of a job's frames, as a worker keeps and breaks it.
// Law: the worker is a test_worker process with the conversation of each row.
#include "supervisor/session.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <thread>

#include "common/sys.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

using test::eventually;
using test::RecordingSink;
using test::simple_request;
using test::WorkerScript;

struct Outcome {
  Result<ExitReport> report = fail(Fault::kInternal, "not run");
  RecordingSink sink;
  std::uint64_t births = 0;  // when the pool is ready again
};

Outcome converse(const std::string& conversation, const RunRequest& request, const SessionWatch& watch = {}) {
  Outcome outcome;
  const WorkerScript script("ready\n" + conversation + "\nready\njob\n");
  Pool pool(script.config());
  auto lease = pool.borrow(0, -1);
  REQUIRE(lease.has_value());
  outcome.report = run_session(std::move(*lease), request, outcome.sink, watch);
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  outcome.births = pool.health().births;
  return outcome;
}

TEST_CASE("a job arrives whole and in order") {
  RunRequest request;
  request.job.entry_point = "pkg/main.py";
  request.job.timeout_ms = 60'000;
  request.files = {
      {"pkg/main.py", "m", false}, {"empty.txt", "", false}, {"input/big", std::string(150'000, 'b'), true}};
  request.stdin_bytes = std::string(70'000, 's');
  const Outcome outcome = converse("job\nstarted\nsay-job\nexit 0", request);
  REQUIRE(outcome.report.has_value());
  CHECK(outcome.sink.out ==
        "job pkg/main.py\nfile pkg/main.py 1 rw\ndata 1 m\nfile empty.txt 0 rw\nfile input/big 150000 ro\n"
        "data 65536 b\ndata 65536 b\ndata 18928 b\nstdin 65536 s\nstdin 4464 s\n");
  CHECK(outcome.births == 1);
}

TEST_CASE("a job larger than the socket's buffers arrives while the worker is slow") {
  RunRequest request = simple_request();
  for (int i = 0; i < 10; ++i) request.files.push_back({fmt::format("f{}", i), std::string(1 << 20, 'x'), false});
  const Outcome outcome = converse("job\nstarted\nexit 0", request);
  CHECK(outcome.report.has_value());
  CHECK(outcome.births == 1);
}

TEST_CASE("output, artifacts and the report come through in order") {
  const Outcome outcome = converse(
      "job\nstarted\nstdout one\nstderr two\nstdout three\nartifact a.txt content\nartifact-head none 0\nexit 3 reason",
      simple_request());
  REQUIRE(outcome.report.has_value());
  CHECK(outcome.report->exit_code == 3);
  CHECK(outcome.report->reason == "reason");
  CHECK(outcome.sink.events == std::vector<std::string>{"out:one", "err:two", "out:three", "artifact:a.txt 7",
                                                        "data:content", "artifact:none 0"});
}

TEST_CASE("an Exit without Started is a report: the sandbox failed") {
  const Outcome outcome = converse("job\nexit -1 no space", simple_request());
  REQUIRE(outcome.report.has_value());
  CHECK(outcome.report->exit_code == -1);
  CHECK(outcome.births == 1);
}

TEST_CASE("a Ready that crosses the job is passed over") {
  const Outcome outcome = converse("job\nready\nstarted\nstdout x\nexit 0", simple_request());
  CHECK(outcome.report.has_value());
  CHECK(outcome.sink.out == "x");
  CHECK(outcome.births == 1);
}

TEST_CASE("a worker that breaks the order is given up, and what had arrived is kept") {
  struct Row {
    const char* conversation;
    const char* named;  // in the message
  };
  const Row rows[] = {
      {"job\nstdout early\nhang", "Stdout"},
      {"job\nartifact a b\nhang", "Artifact"},
      {"job\nstarted\nstarted\nhang", "Started"},
      {"job\nstarted\nready\nhang", "Ready"},
      {"job\nstarted\nframe 2\nhang", "Job"},
      {"job\nstarted\nframe 19\nhang", "Stdout"},                                  // empty
      {"job\nstarted\nartifact-data x\nhang", "ArtifactData"},
      {"job\nstarted\nartifact-head a 3\nartifact-data xxxx\nhang", "ArtifactData"},  // more than announced
      {"job\nstarted\nartifact-head a 3\nartifact b c\nhang", "Artifact"},         // less than announced
      {"job\nstarted\nartifact-head a 3\nexit 0\nhang", "Exit"},
      {"job\nstarted\nartifact a b\nstdout late\nhang", "Stdout"},
      {"job\nstarted\nframe 23\nhang", "malformed"},                               // an Exit without a report
      {"job\nstarted\nframe 21\nhang", "malformed"},
      {"job\nstarted\ngarbage\nhang", ""},
      {"job\nstarted\nfailed it broke\nhang", "it broke"},
      {"job\nstarted\nstdout before\nend 1", "gone"},
      {"job\nend 1", "gone"},
      {"job\nstarted\nflood 19 161\nhang", "10485760"},                            // 10 MiB and a frame
      {"job\nstarted\nartifact-head a 10485761\nhang", "limits"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.conversation);
    const WorkerScript script(fmt::format("once @/first\nready\n{}\notherwise\nready\njob\n", row.conversation));
    Pool pool(script.config());
    RecordingSink sink;
    const auto report = run_session(pool.borrow(0, -1).value(), simple_request(), sink, {});
    REQUIRE_FALSE(report.has_value());
    const bool begun = std::string_view(row.conversation).find("started") != std::string_view::npos;
    CHECK(report.error().fault == (begun ? Fault::kWorkerLost : Fault::kNotStarted));
    CHECK_MESSAGE(report.error().message.find(row.named) != std::string::npos, report.error().message);
    if (std::string_view(row.conversation).find("before") != std::string_view::npos) CHECK(sink.out == "before");
    REQUIRE(eventually([&] { return pool.health().births == 2 && pool.health().ready == 1; }));
  }
}

TEST_CASE("more artifacts than the limit allows end the worker, skipped ones are not counted") {
  WorkerScript script("once @/first\nready\njob\nstarted\nartifact a x\nartifact b x\nhang\notherwise\nready\njob\n");
  PoolConfig config = script.config();
  config.setup.limits.artifacts = 1;
  Pool pool(std::move(config));
  RecordingSink sink;
  const auto report = run_session(pool.borrow(0, -1).value(), simple_request(), sink, {});
  REQUIRE_FALSE(report.has_value());
  CHECK(report.error().fault == Fault::kWorkerLost);
  CHECK(sink.events == std::vector<std::string>{"artifact:a 1", "data:x"});
}

TEST_CASE("a client that hangs up cancels its job, and the worker is kept") {
  Pipe client = sys::make_socket_pair().value();
  const WorkerScript script("ready\njob\nstarted\nstdout running\ncancel\nstdout unheard\nexit 0\nready\nhang\n");
  Pool pool(script.config());
  RecordingSink sink;
  sink.on_event = [&] { client.write.reset(); };  // at the first output
  const auto report = run_session(pool.borrow(0, -1).value(), simple_request(), sink, {.client_fd = client.read.get()});
  REQUIRE_FALSE(report.has_value());
  CHECK(report.error().fault == Fault::kClient);
  CHECK(sink.out == "running");
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  CHECK(pool.health().births == 1);
}

TEST_CASE("a client that had gone before its job began cancels it after Run") {
  Pipe client = sys::make_socket_pair().value();
  client.write.reset();
  const Outcome outcome = converse("job\ncancel\nexit 0", simple_request(), {.client_fd = client.read.get()});
  REQUIRE_FALSE(outcome.report.has_value());
  CHECK(outcome.report.error().fault == Fault::kClient);
  CHECK(outcome.births == 1);
}

TEST_CASE("a client with a next request in the pipe has not gone") {
  Pipe client = sys::make_socket_pair().value();
  REQUIRE(sys::write_all(client.write.get(), "GET / HTTP/1.1\r\n").has_value());
  const Outcome outcome = converse("job\nstarted\nexit 0", simple_request(), {.client_fd = client.read.get()});
  CHECK(outcome.report.has_value());
}

TEST_CASE("the end of the grace period is told to the worker once, and its report is the answer") {
  std::atomic<bool> drain_now = true;
  const Outcome outcome =
      converse("job\nstarted\ncancel\nsay-cancel\nstdout .\nexit 124", simple_request(), {.drain_now = &drain_now});
  REQUIRE(outcome.report.has_value());
  CHECK(outcome.report->exit_code == 124);
  CHECK(outcome.sink.out == "drain.");
  CHECK(outcome.births == 1);
}

TEST_CASE("a worker that does not end its job in time is given up") {
  RunRequest request = simple_request();
  request.job.timeout_ms = 1;
  for (const char* const conversation :
       {"job\nhang", "job\nstarted\nstdout x\nhang", "job\nstarted\nartifact-head a 3\nhang"}) {
    CAPTURE(conversation);
    const WorkerScript script(fmt::format("once @/first\nready\n{}\notherwise\nready\njob\n", conversation));
    Pool pool(script.config());
    RecordingSink sink;
    const auto report = run_session(pool.borrow(0, -1).value(), request, sink, {.margin = Millis{50}});
    REQUIRE_FALSE(report.has_value());
    CHECK(report.error().fault == Fault::kWorkerLost);
    CHECK(report.error().message.find("in time") != std::string::npos);
  }
}

TEST_CASE("a worker that reports before it has heard the whole job is believed and replaced") {
  RunRequest request = simple_request();
  request.files.push_back({"big", std::string(8 << 20, 'x'), false});
  const WorkerScript script("once @/first\nready\nexit -1 disk full\nhang\notherwise\nready\njob\n");
  Pool pool(script.config());
  RecordingSink sink;
  const auto report = run_session(pool.borrow(0, -1).value(), request, sink, {});
  REQUIRE(report.has_value());
  CHECK(report->reason == "disk full");
  REQUIRE(eventually([&] { return pool.health().births == 2; }));
}

}  // namespace
}  // namespace coderunner
