// Role: audit lines, what is in them and what is not, and a log that nobody reads.
#include "supervisor/audit.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <simdjson.h>

#include <csignal>

#include "common/sys.h"

namespace coderunner {
namespace {

const auto kNoon = std::chrono::system_clock::from_time_t(1738324800) + Millis(7);  // 2025-01-31 12:00:00 UTC

RunRequest request_with(std::string script) {
  RunRequest request;
  request.job.timeout_ms = 5000;
  request.files.push_back({"script.py", std::move(script), false});
  request.context_files = 2;
  return request;
}

class MemorySink : public AuditSink {
 public:
  void write_line(std::string_view line) override { lines += line; }
  std::string lines;
};

TEST_CASE("a line holds the contract's fields in order") {
  AuditRecord record{.event = AuditEvent::kStarted, .request_id = "id-1", .client_ip = "10.0.0.1"};
  record.script = describe_script(request_with("print(1)\n"));
  CHECK(format_audit_line(record, kNoon) ==
        R"({"time":"2025-01-31T12:00:00.007Z","event":"execution_started","request_id":"id-1","client_ip":"10.0.0.1",)"
        R"("script_sha256":"cc42155088fca573","script_size_bytes":9,"timeout_s":5,"context_files":2})");
  record.event = AuditEvent::kCompleted;
  record.duration = Micros(12'345);
  record.exit_code = 0;
  CHECK(format_audit_line(record, kNoon).ends_with(R"("context_files":2,"duration_ms":12.3,"exit_code":0})"));
}

TEST_CASE("each event has its name, and what is unknown is left out") {
  const std::pair<AuditEvent, std::string> rows[] = {{AuditEvent::kStarted, "execution_started"},
                                                     {AuditEvent::kCompleted, "execution_completed"},
                                                     {AuditEvent::kRejected, "request_rejected"},
                                                     {AuditEvent::kError, "execution_error"}};
  for (const auto& [event, name] : rows) {
    const AuditRecord record{.event = event, .request_id = "i", .client_ip = "c"};
    CHECK(format_audit_line(record, kNoon) == "{\"time\":\"2025-01-31T12:00:00.007Z\",\"event\":\"" + name +
                                                  "\",\"request_id\":\"i\",\"client_ip\":\"c\"}");
  }
}

TEST_CASE("an error is one line of JSON whatever it holds, and short enough to be written whole") {
  AuditRecord record;
  record.error = "bad \"field\"\nname: \xFF" + std::string(5000, '\x01');
  const std::string line = format_audit_line(record, kNoon);
  CHECK(line.find('\n') == line.npos);
  CHECK(line.size() < 4096);
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.parse(line).get(root) == simdjson::SUCCESS);
  const std::string_view error = root["error"];
  CHECK(error.starts_with("bad \"field\"\nname: \uFFFD\x01"));
}

TEST_CASE("the script of files mode is its entry point, and no script is ever in a line") {
  RunRequest request = request_with("SECRET = 1\n");
  request.files.push_back({"pkg/main.py", "print(1)\n", false});
  request.job.entry_point = "pkg/main.py";
  CHECK(describe_script(request).sha256 == "cc42155088fca573");
  CHECK(describe_script(request).bytes == 9);
  AuditRecord record;
  record.script = describe_script(request);
  CHECK(format_audit_line(record, kNoon).find("print") == std::string::npos);
}

TEST_CASE("a record says whose request it is") {
  MemorySink sink;
  const std::string trusted[] = {"127.0.0.1"};
  AuditLog log(sink, TrustedProxies::parse(trusted).value());
  HttpRequest request;
  request.request_id = "r";
  request.peer_ip = "127.0.0.1";
  request.headers.emplace_back("X-Forwarded-For", "203.0.113.9, 10.0.0.1");
  CHECK(log.begin(request).client_ip == "203.0.113.9");
  request.peer_ip = "127.0.0.2";
  CHECK(log.begin(request).client_ip == "127.0.0.2");
}

TEST_CASE("a refusal is logged as one, a failure of ours as an error") {
  MemorySink sink;
  AuditLog log(sink, {});
  HttpRequest request;
  request.request_id = "r";
  request.arrived = Clock::now();
  log.write_refusal(request, make_error_reply(413, "too much"));
  CHECK(sink.lines.find(R"("event":"request_rejected","request_id":"r")") != std::string::npos);
  CHECK(sink.lines.ends_with("\"error\":\"too much\"}\n"));
  log.write_refusal(request, make_error_reply(500, "internal error"));
  CHECK(sink.lines.find(R"("event":"execution_error")") != std::string::npos);
}

TEST_CASE("a log that is closed costs its lines only") {
  std::signal(SIGPIPE, SIG_IGN);  // as the service does
  Pipe pipe = sys::make_pipe().value();
  pipe.read.reset();
  FdAuditSink sink(pipe.write.get());
  sink.write_line("a\n");
  FdAuditSink nowhere(-1);
  nowhere.write_line("a\n");
}

TEST_CASE("a log that nobody reads loses lines, and says how many once it is read again") {
  Pipe pipe = sys::make_pipe().value();
  const auto capacity = static_cast<std::size_t>(::fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096));
  REQUIRE(sys::write_all(pipe.write.get(), std::string(capacity, 'x')).has_value());
  FdAuditSink sink(pipe.write.get());
  for (int i = 0; i < 100; ++i) sink.write_line("lost\n");  // returns, though nothing can be written
  REQUIRE(sys::set_nonblocking(pipe.read.get(), true).has_value());
  std::string drained(capacity, '\0');
  REQUIRE(sys::read_some(pipe.read.get(), drained).value() == capacity);
  sink.write_line("kept\n");
  std::string after(4096, '\0');
  after.resize(sys::read_some(pipe.read.get(), after).value().value());
  CHECK(after.find(R"("event":"audit_lines_lost","count":100})") != std::string::npos);
  CHECK(after.ends_with("}\nkept\n"));
}

}  // namespace
}  // namespace coderunner
