// Role: how records are taken out of a status pipe, however they were written into it.
#include "worker/status_pipe.h"

#include <doctest/doctest.h>

#include <string>

#include "common/sys.h"

namespace coderunner {
namespace {

struct Ends {
  Ends() {
    Pipe pipe = sys::make_pipe().value();
    REQUIRE(sys::set_nonblocking(pipe.read.get(), true).has_value());
    write = std::move(pipe.write);
    status = StatusPipe(std::move(pipe.read));
  }
  void put(std::string_view bytes) { REQUIRE(sys::write_all(write.get(), bytes).has_value()); }
  std::optional<InitStatus> next() { return status.next().value(); }

  UniqueFd write;
  StatusPipe status;
};

std::string record(InitStatus::Kind kind, int wait_status) {
  const InitStatus status{kind, wait_status, 5, 6};
  return {reinterpret_cast<const char*>(&status), sizeof status};
}

using Kind = InitStatus::Kind;

TEST_CASE("records written together are read one by one, and nothing is waited for") {
  Ends ends;
  CHECK_FALSE(ends.next().has_value());
  ends.put(record(Kind::kForked, 42) + record(Kind::kEnded, 768));
  const auto forked = ends.next();
  REQUIRE(forked.has_value());
  CHECK((forked->kind == Kind::kForked && forked->wait_status == 42));
  const auto ended = ends.next();
  REQUIRE(ended.has_value());
  CHECK((ended->kind == Kind::kEnded && ended->wait_status == 768 && ended->cpu_us == 5 &&
         ended->peak_memory_bytes == 6));
  CHECK_FALSE(ends.next().has_value());
  CHECK_FALSE(ends.status.closed());
}

TEST_CASE("a record that comes in pieces is one when it is whole, and none before") {
  const std::string bytes = record(Kind::kEnded, 256);
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    CAPTURE(cut);
    Ends ends;
    ends.put(bytes.substr(0, cut));
    CHECK_FALSE(ends.next().has_value());
    ends.put(bytes.substr(cut) + bytes.substr(0, cut));
    CHECK(ends.next().has_value());
    CHECK_FALSE(ends.next().has_value());
  }
}

TEST_CASE("what had been said is heard after the last writer has gone") {
  Ends ends;
  ends.put(record(Kind::kEnded, 0) + record(Kind::kFailed, 0) + "no such file");
  ends.write.reset();
  CHECK(ends.next()->kind == Kind::kEnded);
  CHECK(ends.next()->kind == Kind::kFailed);
  CHECK(ends.status.rest() == "no such file");
  CHECK_FALSE(ends.next().has_value());
  CHECK(ends.status.closed());
  CHECK(ends.status.fd() == -1);
}

TEST_CASE("a record cut off by the writer's end is none") {
  Ends ends;
  ends.put(record(Kind::kEnded, 0).substr(0, 10));
  ends.write.reset();
  CHECK_FALSE(ends.next().has_value());
  CHECK(ends.status.closed());
}

}  // namespace
}  // namespace coderunner
