// Role: which lost workers cost a job its answer, and which only time.
// Law: the workers are test_worker processes; `once` tells the first of them from those that follow.
#include "supervisor/dispatch.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "common/sys.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

using test::eventually;
using test::RecordingSink;
using test::simple_request;
using test::WorkerScript;

constexpr const char* kGood = "ready\njob\nstarted\nstdout done\nexit 0\nready\nhang\n";

struct Outcome {
  Dispatched dispatched{fail(Fault::kInternal, "not run"), Micros{0}};
  RecordingSink sink;
  std::uint64_t births = 0;
};

// The first workers, each with a conversation of its own, then good ones.
Outcome dispatch(const std::vector<std::string>& first, const SessionWatch& watch = {}) {
  std::string script;
  for (std::size_t i = 0; i < first.size(); ++i)
    script += fmt::format("once @/{}\nready\n{}\notherwise\n", i, first[i]);
  const WorkerScript workers(script + kGood);
  Pool pool(workers.config());
  Outcome outcome;
  outcome.dispatched = dispatch_job(pool, 0, simple_request(), outcome.sink, watch);
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  outcome.births = pool.health().births;
  return outcome;
}

TEST_CASE("a job whose worker dies before it began is done by another one") {
  for (const char* const death : {"end 1", "job\nend 1", "failed no sandbox\nhang", "job\nfailed no sandbox\nhang",
                                  "garbage\nhang", "job\nstdout early\nhang"}) {
    CAPTURE(death);
    const Outcome outcome = dispatch({death});
    REQUIRE(outcome.dispatched.report.has_value());
    CHECK(outcome.dispatched.report->exit_code == 0);
    CHECK(outcome.sink.events == std::vector<std::string>{"out:done"});
    CHECK(outcome.births == 2);
  }
}

TEST_CASE("the third worker is the last that a job is given to") {
  const Outcome twice = dispatch({"job\nend 1", "job\nend 1"});
  REQUIRE(twice.dispatched.report.has_value());
  CHECK(twice.sink.out == "done");
  CHECK(twice.births == 3);

  const Outcome thrice = dispatch({"job\nend 1", "job\nend 1", "job\nfailed the third reason\nhang"});
  REQUIRE_FALSE(thrice.dispatched.report.has_value());
  CHECK(thrice.dispatched.report.error().fault == Fault::kWorkerLost);
  CHECK(thrice.dispatched.report.error().message ==
        "3 workers were lost before they began the job; the last: the third reason");
  CHECK(thrice.sink.events.empty());
}

TEST_CASE("a job that has begun is not begun again") {
  for (const char* const death : {"job\nstarted\nend 1", "job\nstarted\nstdout x\nend 1",
                                  "job\nstarted\ngarbage\nhang"}) {
    CAPTURE(death);
    const Outcome outcome = dispatch({death});
    REQUIRE_FALSE(outcome.dispatched.report.has_value());
    CHECK(outcome.dispatched.report.error().fault == Fault::kWorkerLost);
    CHECK(outcome.sink.out != "done");
  }
}

TEST_CASE("a job whose sandbox could not take it has its report, and is not tried elsewhere") {
  const Outcome outcome = dispatch({"job\nexit -1 no space\nready\nhang"});
  REQUIRE(outcome.dispatched.report.has_value());
  CHECK(outcome.dispatched.report->reason == "no space");
  CHECK(outcome.births == 1);
}

TEST_CASE("a client that goes while its worker dies is not run for") {
  Pipe client = sys::make_socket_pair().value();
  client.write.reset();
  // The second worker would have to hear of the job to be told that nobody wants it: it is not asked.
  const Outcome outcome = dispatch({"job\ncancel\nend 1"}, {.client_fd = client.read.get()});
  REQUIRE_FALSE(outcome.dispatched.report.has_value());
  CHECK(outcome.dispatched.report.error().fault == Fault::kClient);
  CHECK(outcome.sink.events.empty());
}

TEST_CASE("a service that shuts down meanwhile says so: nothing of the job has run") {
  const WorkerScript workers("once @/first\nready\njob\nend 1\notherwise\nhang\n");
  Pool pool(workers.config());
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  RecordingSink sink;
  std::atomic<bool> drained = false;
  std::jthread operator_([&] {
    drained = eventually([&] { return pool.health().queued == 1; });
    pool.drain();
  });
  const Dispatched outcome = dispatch_job(pool, 0, simple_request(), sink, {});
  CHECK(drained);
  REQUIRE_FALSE(outcome.report.has_value());
  CHECK(outcome.report.error().fault == Fault::kUnavailable);
}

}  // namespace
}  // namespace coderunner
