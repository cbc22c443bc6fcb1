// Role: heads and chunked bodies as bytes, good and bad.
#include "supervisor/http_head.h"

#include <doctest/doctest.h>

#include <string>

namespace coderunner {
namespace {

using namespace std::string_literals;

// Status of the refusal, or 0.
int refusal_of(const std::string& head) {
  std::size_t scanned = 0;
  const auto end = find_head_end(head, scanned);
  if (!end) return end.error().status;
  REQUIRE(*end == head.size());
  const auto parsed = parse_head(head);
  return parsed ? 0 : parsed.error().status;
}

ParsedHead parse(const std::string& head) {
  auto parsed = parse_head(head);
  REQUIRE(parsed.has_value());
  return std::move(*parsed);
}

const std::string kHost = "Host: a\r\n";

TEST_CASE("a head is taken apart") {
  const ParsedHead head = parse(
      "POST /api/r%75n?timeout_s=5&code=a%2Bb+c&empty&x=%zz HTTP/1.1\r\nhOST:  example:80 \r\nX-A: 1\r\nX-a: 2\r\n"
      "Content-Length: 12\r\n\r\n");
  CHECK(head.request.method == "POST");
  CHECK(head.request.path == "/api/run");
  CHECK(head.request.param("timeout_s") == "5");
  CHECK(head.request.param("code") == "a+b c");
  CHECK(head.request.param("empty") == "");
  CHECK(head.request.param("x") == "%zz");
  CHECK_FALSE(head.request.param("Code").has_value());
  CHECK(head.request.header("host") == "example:80");
  CHECK(head.request.header("x-A") == "1");
  CHECK(head.framing == BodyFraming::kLength);
  CHECK(head.content_length == 12);
  CHECK(head.keep_alive);
  CHECK_FALSE(head.expects_continue);
}

TEST_CASE("the absolute form of a target gives path and host") {
  const ParsedHead head = parse("GET http://real:81/a?b=c HTTP/1.1\r\nHost: other\r\n\r\n");
  CHECK(head.request.path == "/a");
  CHECK(head.request.param("b") == "c");
  CHECK(head.request.header("Host") == "real:81");
  CHECK(parse("GET http://real HTTP/1.1\r\nHost: other\r\n\r\n").request.path == "/");
}

TEST_CASE("whether the connection stays") {
  struct Row {
    std::string head;
    bool keep;
  };
  const Row rows[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.head);
    CHECK(parse(row.head).keep_alive == row.keep);
  }
}

TEST_CASE("requests that two readers could understand differently are refused") {
  struct Row {
    std::string head;
    int status;
  };
  const std::string post = "POST / HTTP/1.1\r\n" + kHost;
  const Row rows[] = {
      {"GET / HTTP/1.1\r\n" + kHost + "\r\n", 0},
      {"GET /\r\n\r\n", 400},
      {"GET / HTTP/1.1 x\r\n" + kHost + "\r\n", 400},
      {"GET  / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {" GET / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"G(T / HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /\x01 HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET /a\rb HTTP/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/2.0\r\n" + kHost + "\r\n", 505},
      {"GET / http/1.1\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/1.x\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/x.1\r\n" + kHost + "\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + "X: a\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + "X: a\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + "X : a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + "no colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + ": no name\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + kHost + "X: a\0b\r\n\r\n"s, 400},
      {"GET / HTTP/1.1\r\n" + kHost + "X: a\rb\r\n\r\n", 400},
      {post + "Content-Length: 5\r\n\r\n", 0},
      {post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
      {post + "Content-Length: 5, 5\r\n\r\n", 400},
      {post + "Content-Length: +5\r\n\r\n", 400},
      {post + "Content-Length: -5\r\n\r\n", 400},
      {post + "Content-Length: 0x5\r\n\r\n", 400},
      {post + "Content-Length:\r\n\r\n", 400},
      {post + "Transfer-Encoding: Chunked\r\n\r\n", 0},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {post + "Transfer-Encoding: identity\r\n\r\n", 501},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {post + "Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\n", 415},
      {post + "Content-Length: 5\r\nContent-Encoding: identity\r\n\r\n", 0},
      {post + "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n", 0},
      {post + "Content-Length: 5\r\nExpect: tea\r\n\r\n", 417},
  };
  for (const Row& row : rows) {
    CAPTURE(row.head);
    CHECK(refusal_of(row.head) == row.status);
  }
}

TEST_CASE("a length beyond any number is a length above the limit") {
  const ParsedHead head = parse("POST / HTTP/1.1\r\n" + kHost + "Content-Length: 99999999999999999999\r\n\r\n");
  CHECK(head.content_length == UINT64_MAX);
}

TEST_CASE("the size of a head is bounded, whether it ends or not") {
  const std::string a_limit(kMaxHeadBytes, 'a');
  const std::string long_line = "GET /" + std::string(kMaxRequestLineBytes, 'a');
  std::size_t scanned = 0;
  CHECK(find_head_end(long_line, scanned).error().status == 414);
  scanned = 0;
  CHECK(find_head_end(long_line + " HTTP/1.1\r\n", scanned).error().status == 414);
  scanned = 0;
  CHECK(find_head_end("GET / HTTP/1.1\r\nX: " + a_limit, scanned).error().status == 431);
  scanned = 0;
  CHECK(find_head_end("GET / HTTP/1.1\r\nX: " + a_limit + "\r\n\r\n", scanned).error().status == 431);

  const std::string frame = "GET / HTTP/1.1\r\n" + kHost + "X: \r\n\r\n";
  for (const std::size_t more : {0U, 1U}) {
    std::string head = frame;
    head.insert(head.size() - 4, kMaxHeadBytes - frame.size() + more, 'a');
    CHECK(refusal_of(head) == (more == 0 ? 0 : 431));
  }

  std::string fields = kHost;
  for (std::size_t i = 1; i < kMaxHeaderFields; ++i) fields += "X: y\r\n";
  CHECK(refusal_of("GET / HTTP/1.1\r\n" + fields + "\r\n") == 0);
  CHECK(refusal_of("GET / HTTP/1.1\r\n" + fields + "X: y\r\n\r\n") == 431);
}

TEST_CASE("a head that comes byte by byte ends where it ends") {
  const std::string head = "GET / HTTP/1.1\r\n" + kHost + "\r\n";
  const std::string bytes = head + "GET /next";
  std::size_t scanned = 0;
  for (std::size_t i = 0; i < head.size(); ++i) REQUIRE(find_head_end(bytes.substr(0, i), scanned).value() == 0);
  CHECK(find_head_end(bytes, scanned).value() == head.size());
}

TEST_CASE("a chunked body is put together, however it is cut") {
  const std::string wire = "5\r\nhello\r\n00a;name=\"x\"\r\n 0123456\r\n\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t piece = 1; piece <= wire.size(); ++piece) {
    ChunkedDecoder decoder(15);
    std::string body;
    for (std::size_t at = 0; at < wire.size(); at += piece) {
      const std::string part = wire.substr(at, piece);
      REQUIRE_FALSE(decoder.finished());
      REQUIRE(decoder.feed(part, body).value() == part.size());
    }
    CHECK(decoder.finished());
    CHECK(body == "hello 0123456\r\n");
  }
}

TEST_CASE("what follows a chunked body is left alone") {
  ChunkedDecoder decoder(10);
  std::string body;
  CHECK(decoder.feed("1\r\na\r\n0\r\n\r\nGET /", body).value() == 11);
  CHECK(decoder.finished());
}

TEST_CASE("a chunked body that is malformed or too large is refused") {
  struct Row {
    std::string wire;
    int status;
  };
  const Row rows[] = {
      {"x\r\n", 400},
      {"\r\n", 400},
      {"-1\r\n", 400},
      {"0x5\r\n", 400},
      {"5\n", 400},
      {"1\r\nab\r\n", 400},
      {"1\r\na\n", 400},
      {"1;" + std::string(kMaxChunkLineBytes, 'e'), 400},
      {"1;a\rb\r\n", 400},
      {"1;a\0\r\n"s, 400},
      {"0\r\nGET / HTTP/1.1\r\n", 400},
      {"0\r\n folded: x\r\n", 400},
      {"0\r\nX: a\rb\r\n", 400},
      {"b\r\n", 413},
      {"5\r\nhello\r\n6\r\n", 413},
      {"ffffffffffffffff\r\n", 413},
      {"fffffffffffffffff\r\n", 413},
  };
  for (const Row& row : rows) {
    CAPTURE(row.wire);
    ChunkedDecoder decoder(10);
    std::string body;
    const auto fed = decoder.feed(row.wire, body);
    REQUIRE_FALSE(fed.has_value());
    CHECK(fed.error().status == row.status);
  }
}

}  // namespace
}  // namespace coderunner
