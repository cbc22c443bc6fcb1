// Role: which of two equal invocations runs, what is remembered of it, and for how long.
#include "supervisor/invocations.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <vector>

namespace coderunner {
namespace {

HttpReply reply_of(int status, std::string body) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}

TEST_CASE("a second invocation of an id is answered with what the first one got") {
  Invocations invocations;
  int runs = 0;
  const auto run = [&] { return reply_of(200, std::to_string(++runs)); };
  CHECK(invocations.answer_once("a", run).body == "1");
  CHECK(invocations.answer_once("a", run).body == "1");
  CHECK(invocations.answer_once("b", run).body == "2");
  CHECK(invocations.answer_once("a", run).body == "1");
  CHECK(invocations.held().count == 2);
}

TEST_CASE("only runs that took place are remembered") {
  struct Row {
    int status;
    bool kept;
  };
  const Row rows[] = {{200, true}, {500, true}, {400, false}, {413, false}, {429, false}, {503, false}};
  for (const Row& row : rows) {
    CAPTURE(row.status);
    Invocations invocations;
    int runs = 0;
    const auto run = [&] { return reply_of(row.status, std::to_string(++runs)); };
    CHECK(invocations.answer_once("a", run).body == "1");
    CHECK(invocations.answer_once("a", run).body == (row.kept ? "1" : "2"));
    CHECK(invocations.held().count == (row.kept ? 1 : 0));
  }
}

TEST_CASE("whoever comes meanwhile waits, and runs itself only when there was no result") {
  for (const int first_status : {200, 503}) {
    CAPTURE(first_status);
    Invocations invocations;
    std::promise<void> first_runs, may_end;
    std::atomic<int> runs = 0;
    auto first = std::async(std::launch::async, [&] {
      return invocations.answer_once("a", [&] {
        ++runs;
        first_runs.set_value();
        may_end.get_future().wait();
        return reply_of(first_status, "first");
      });
    });
    first_runs.get_future().wait();
    std::vector<std::future<HttpReply>> others;
    for (int i = 0; i < 4; ++i) {
      others.push_back(std::async(std::launch::async, [&] {
        return invocations.answer_once("a", [&] {
          ++runs;
          return reply_of(200, "other");
        });
      }));
    }
    CHECK(invocations.answer_once("b", [] { return reply_of(200, "not held up"); }).body == "not held up");
    may_end.set_value();
    CHECK(first.get().body == "first");
    for (auto& other : others) CHECK(other.get().body == (first_status == 200 ? "first" : "other"));
    CHECK(runs == (first_status == 200 ? 1 : 2));
  }
}

TEST_CASE("a run that throws leaves its id free") {
  Invocations invocations;
  CHECK_THROWS(invocations.answer_once("a", []() -> HttpReply { throw std::runtime_error("x"); }));
  CHECK(invocations.answer_once("a", [] { return reply_of(200, "again"); }).body == "again");
}

TEST_CASE("the oldest answers are forgotten beyond the bounds, and all after their time") {
  const std::string kilobyte(1000, 'x');
  const auto run = [&] { return reply_of(200, kilobyte); };
  Invocations few({.keep = Millis(600'000), .count = 3, .bytes = kMiB});
  Invocations small({.keep = Millis(600'000), .count = 100, .bytes = 3500});
  for (Invocations* invocations : {&few, &small}) {
    for (const char* id : {"1", "2", "3", "4"}) invocations->answer_once(id, run);
    CHECK(invocations->held().count == 3);
    CHECK(invocations->held().bytes < 3500);
    CHECK(invocations->answer_once("2", [] { return reply_of(200, "new"); }).body == kilobyte);
    CHECK(invocations->answer_once("1", [] { return reply_of(200, "new"); }).body == "new");
  }
  Invocations too_small({.keep = Millis(600'000), .count = 100, .bytes = 10});
  too_small.answer_once("1", run);
  CHECK(too_small.held().count == 0);
  CHECK(too_small.held().bytes == 0);

  Invocations brief({.keep = Millis(0), .count = 100, .bytes = kMiB});
  brief.answer_once("1", run);
  CHECK(brief.held().count == 0);
  CHECK(brief.answer_once("1", [] { return reply_of(200, "new"); }).body == "new");
}

}  // namespace
}  // namespace coderunner
