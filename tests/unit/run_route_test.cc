// Role: how a run is refused, and what the audit log says of it. Runs that succeed are the contract tests' matter.
#include "supervisor/run_route.h"

#include <doctest/doctest.h>

#include <fcntl.h>

#include "common/sys.h"

namespace coderunner {
namespace {

class MemorySink : public AuditSink {
 public:
  void write_line(std::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

HttpRequest request_with(std::string body) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/api/run";
  request.headers = {
      {"Host", "127.0.0.1:7071"}, {"Content-Type", "application/json"}, {"x-functions-key", "let-me-in"}};
  request.request_id = "r";
  request.peer_ip = "127.0.0.1";
  request.arrived = Clock::now();
  request.body = std::move(body);
  return request;
}

bool says(const std::string& line, std::string_view text) { return line.find(text) != line.npos; }

// A route whose workers all die at birth.
struct Service {
  MemorySink sink;
  AuditLog audit{sink, {}};
  Metrics metrics{{"/api/run"}};
  Pool pool{[] {
    PoolConfig config;
    config.program = {.path = "false", .file = sys::open("/bin/false", O_PATH).value()};
    config.timings.failures_tolerated = 1;
    return config;
  }()};
  RunRoute route{{.gate = {.keys = {"let-me-in"}, .allow_origins = {}, .loopback = true},
                  .limits = {}, .standard_modules = {"json"}},
                 pool, audit, metrics};
};

TEST_CASE("a request is refused at the gate, then for its form, and logged once") {
  struct Row {
    std::string header, value, body;  // put in place of the right ones
    int status;
  };
  const std::string good = R"({"script":"x = 1"})";
  const Row rows[] = {
      {"x-functions-key", "wrong", good, 401},
      {"x-functions-key", "wrong", "not json", 401},  // whoever has no key learns nothing of the form
      {"Host", "evil.example", good, 403},
      {"Host", "127.0.0.1:7071", "not json", 400},
      {"Host", "127.0.0.1:7071", R"({"script":5})", 400},
      {"Host", "127.0.0.1:7071", "{\"script\":\"" + std::string(300'000, 'x') + "\"}", 413},
  };
  for (const Row& row : rows) {
    CAPTURE(row.status);
    Service service;
    HttpRequest request = request_with(row.body);
    for (auto& [name, value] : request.headers) {
      if (name == row.header) value = row.value;
    }
    const HttpReply reply = service.route.answer(std::move(request));
    CHECK(reply.status == row.status);
    CHECK(reply.body.starts_with(R"({"error":")"));
    REQUIRE(service.sink.lines.size() == 1);
    CHECK(says(service.sink.lines[0], R"("event":"request_rejected","request_id":"r","client_ip":"127.0.0.1",)"));
    CHECK(says(service.sink.lines[0], R"(,"duration_ms":)"));
    CHECK_FALSE(says(service.sink.lines[0], "let-me-in"));
    CHECK_FALSE(says(service.sink.lines[0], "wrong"));
  }
}

TEST_CASE("without any worker a run is 503 with Retry-After, and its script is not in the log") {
  Service service;
  const HttpReply reply = service.route.answer(request_with(R"({"script":"secret = 'xyz'\n","timeout_s":7})"));
  CHECK(reply.status == 503);
  CHECK(reply.body.starts_with(R"({"error":"no worker can start: )"));
  REQUIRE(reply.headers.size() == 1);
  CHECK(reply.headers[0].first == "Retry-After");
  REQUIRE(service.sink.lines.size() == 2);
  CHECK(says(service.sink.lines[0], R"("event":"execution_started")"));
  CHECK(says(service.sink.lines[0], R"("script_size_bytes":15,"timeout_s":7,"context_files":0})"));
  CHECK(says(service.sink.lines[1], R"("event":"request_rejected")"));
  CHECK(says(service.sink.lines[1], R"("error":"no worker can start: )"));
  for (const std::string& line : service.sink.lines) CHECK_FALSE(says(line, "secret"));
}

TEST_CASE("while draining a run is 503") {
  Service service;
  service.pool.drain();
  CHECK(service.route.answer(request_with(R"({"script":"1"})")).status == 503);
}

}  // namespace
}  // namespace coderunner
