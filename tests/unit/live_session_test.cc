// Role: live output between a worker and a client that reads slowly, not at all, or has gone.
// Law: the worker is a test_worker process; the client is the other end of a socket pair.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <thread>

#include "common/sys.h"
#include "supervisor/http_stream.h"
#include "supervisor/reply_stream.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

using test::eventually;
using test::simple_request;
using test::WorkerScript;

// A client's connection, and the answer that goes over it.
struct Connection {
  explicit Connection(Millis silence = kKeepAliveAfter)
      : ends(sys::make_socket_pair().value()),
        stream(ends.read.get(), "id", StreamFraming::kUntilClose, AfterReply::kClose),
        sink(stream, ReplyForm::kLines, limits, silence) {
    REQUIRE(sys::set_nonblocking(ends.read.get(), true).has_value());
    sink.begin(Micros(0));
  }
  [[nodiscard]] int server_fd() const { return ends.read.get(); }
  // Blocks until something comes; empty at the end.
  std::string read() const {
    std::string piece(1 << 16, '\0');
    const auto count = sys::read_some(ends.write.get(), piece);
    piece.resize(count && *count ? **count : 0);
    return piece;
  }

  Limits limits;
  Pipe ends;
  ConnectionStream stream;
  LiveSink sink;
};

TEST_CASE("a client that does not read stops its script's output, and is cut off when the job's time is over") {
  RunRequest request = simple_request();
  request.job.timeout_ms = 200;
  const WorkerScript script("ready\njob\nstarted\nflood 19 100\ncancel\nexit 124\nready\nhang\n");
  Pool pool(script.config());
  Connection client;
  const auto report = run_session(pool.borrow(0, -1).value(), request, client.sink,
                                  {.client_fd = client.server_fd(), .patience = Millis(100)});
  REQUIRE_FALSE(report.has_value());
  CHECK(report.error().fault == Fault::kClient);
  CHECK(report.error().message == "cancelled: the client does not read");
  CHECK(client.stream.wants_write());
  CHECK(client.stream.unsent().size() < 8 * kMaxPayload);  // one frame's event, its control characters escaped
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  CHECK(pool.health().births == 1);
}

TEST_CASE("a slow client holds up its script, and gets everything while it reads on") {
  RunRequest request = simple_request();
  request.job.timeout_ms = 1;  // over at once: from then on the client's pace is what counts
  const WorkerScript script("ready\njob\nstarted\nflood 19 40\nexit 3\nready\nhang\n");
  Pool pool(script.config());
  Connection client;
  std::string got;
  std::jthread reader([&] {
    for (std::string piece = client.read(); !piece.empty(); piece = client.read()) got += piece;
  });
  const auto report = run_session(pool.borrow(0, -1).value(), request, client.sink,
                                  {.client_fd = client.server_fd(), .patience = Millis(60'000)});
  REQUIRE(report.has_value());
  CHECK(report->exit_code == 3);
  REQUIRE(eventually([&] { return client.sink.flush() && !client.sink.wants_write(); }));
  client.ends.read.reset();
  reader.join();
  std::size_t events = 0;
  for (std::size_t at = 0; (at = got.find("{\"event\":\"stdout\"", at)) != got.npos; ++at) ++events;
  CHECK(events == 40);
}

TEST_CASE("silence is bridged by keep-alives, and a client that goes away in it cancels its job") {
  const WorkerScript script("ready\njob\nstarted\ncancel\nexit 0\nready\nhang\n");
  Pool pool(script.config());
  Connection client(Millis(10));
  std::jthread reader([&] {
    std::string got;
    std::size_t seen = 0;
    while (seen < 3) {
      const std::string piece = client.read();
      if (piece.empty()) break;
      got += piece;
      seen = 0;
      for (std::size_t at = 0; (at = got.find("{\"event\":\"keepalive\"}\n", at)) != got.npos; ++at) ++seen;
    }
    client.ends.write.reset();
  });
  const auto report =
      run_session(pool.borrow(0, -1).value(), simple_request(), client.sink, {.client_fd = client.server_fd()});
  REQUIRE_FALSE(report.has_value());
  CHECK(report.error().message == "cancelled: the client went away");
  REQUIRE(eventually([&] { return pool.health().ready == 1; }));
  CHECK(pool.health().births == 1);
}

}  // namespace
}  // namespace coderunner
