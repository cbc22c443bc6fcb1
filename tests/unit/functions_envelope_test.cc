// Role: the Functions host's envelope, both ways: what is unwrapped, what is refused, what the host is answered.
#include "supervisor/functions_envelope.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

std::string envelope(const std::string& req) { return R"({"Data":{"req":)" + req + R"(},"Metadata":{"a":{}}})"; }

TEST_CASE("a request comes out of its envelope as its caller sent it") {
  const auto request = read_envelope(envelope(
      R"({"Url":"https://site.example/api/run?timeout_s=5&code=a%20b","Method":"POST","Query":"{\"x\":\"y\"}",)"
      R"("Headers":{"Content-Type":["text/plain"],"X-Two":["one","two"],"Host":"site.example"},"Params":{},)"
      R"("Identities":"[]","Body":"print('\u00e9')\n"})"));
  REQUIRE(request);
  CHECK(request->method == "POST");
  CHECK(request->path == "/api/run");
  CHECK(request->param("timeout_s") == "5");
  CHECK(request->param("code") == "a b");
  CHECK_FALSE(request->param("x"));
  CHECK(request->header("content-type") == "text/plain");
  CHECK(request->header("host") == "site.example");
  REQUIRE(request->headers.size() == 4);
  CHECK(request->headers[2].second == "two");
  CHECK(request->body == "print('\xc3\xa9')\n");
}

TEST_CASE("the path is what follows scheme and host") {
  struct Row {
    std::string url, path;
  };
  const Row rows[] = {{"http://h/a/b", "/a/b"}, {"http://h", "/"}, {"http://h?x=1", ""}, {"/a", "/a"},
                      {"http://h:80/a%2fb", "/a/b"}};
  for (const Row& row : rows) {
    CAPTURE(row.url);
    const auto request = read_envelope(envelope(R"({"Method":"GET","Url":")" + row.url + R"("})"));
    REQUIRE(request);
    CHECK(request->path == row.path);
    CHECK(request->body.empty());
    CHECK(request->headers.empty());
  }
}

TEST_CASE("a body is text, base64 where its type is binary, or JSON in place") {
  struct Row {
    std::string type, body, want;
  };
  const Row rows[] = {
      {"application/json", R"("{\"script\":\"1\"}")", R"({"script":"1"})"},
      {"application/json", R"({"script": "1", "n": [1, 2.5, null]})", R"({"script":"1","n":[1,2.5,null]})"},
      {"application/json", R"([ 1 ])", "[1]"},
      {"application/json", "null", ""},
      {"text/plain", R"("aGk=")", "aGk="},
      {"application/octet-stream", R"("aGk=")", "hi"},
      {"Application/Octet-Stream; x=y", R"("aGk=")", "hi"},
      {"multipart/form-data; boundary=b", R"("aGk=")", "hi"},
      {"application/octet", R"("aGk=")", "aGk="},
  };
  for (const Row& row : rows) {
    CAPTURE(row.type);
    CAPTURE(row.body);
    const auto request = read_envelope(envelope(R"({"Method":"POST","Url":"/","Headers":{"Content-Type":[")" +
                                                row.type + R"("]},"Body":)" + row.body + "}"));
    REQUIRE(request);
    CHECK(request->body == row.want);
  }
}

TEST_CASE("what is no envelope is refused with the member that is wrong") {
  const std::string good = R"("Method":"POST","Url":"/")";
  struct Row {
    std::string text, says;
  };
  const Row rows[] = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"\xff", "not valid JSON"},
      {std::string(5000, '['), "not valid JSON"},
      {"[]", "must be an object"},
      {"{}", "Data must be an object"},
      {R"({"Data":[]})", "Data must be an object"},
      {R"({"Data":{}})", "req must be an object"},
      {envelope("{}"), "Method must be a string"},
      {envelope(R"({"Method":1,"Url":"/"})"), "Method must be a string"},
      {envelope(R"({"Method":"GET"})"), "Url must be a string"},
      {envelope("{" + good + R"(,"Headers":[]})"), "Headers must be an object"},
      {envelope("{" + good + R"(,"Headers":{"a":1}})"), "Headers must hold"},
      {envelope("{" + good + R"(,"Headers":{"a":[1]}})"), "Headers must hold"},
      {envelope("{" + good + R"(,"Body":1})"), "Body must be a string or an object"},
      {envelope("{" + good + R"(,"Headers":{"Content-Type":"multipart/x"},"Body":"%"})"), "Body must be base64"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const auto request = read_envelope(row.text);
    REQUIRE_FALSE(request);
    CHECK(request.error().fault == Fault::kClient);
    CHECK(request.error().message.starts_with("invocation: "));
    CHECK(request.error().message.find(row.says) != std::string::npos);
  }
}

TEST_CASE("an answer goes into an envelope of status 200, whatever its own status") {
  HttpReply reply;
  reply.status = 429;
  reply.headers.emplace_back("Retry-After", "3");
  reply.body = "{\"error\":\"a \\\"b\\\"\"}";
  const HttpReply envelope = make_envelope(reply, "id-1");
  CHECK(envelope.status == 200);
  CHECK(envelope.content_type == "application/json");
  CHECK(envelope.headers.empty());
  CHECK(envelope.body ==
        R"({"Outputs":{"res":{"statusCode":429,"headers":{"Content-Type":"application/json","X-Request-Id":"id-1",)"
        R"("Retry-After":"3"},"body":"{\"error\":\"a \\\"b\\\"\"}"}},"Logs":[],"ReturnValue":null})");
}

}  // namespace
}  // namespace coderunner
