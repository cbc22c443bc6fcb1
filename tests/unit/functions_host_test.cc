// Role: requests as the Functions host sends them, to routes that note what reaches them.
#include "supervisor/functions_host.h"

#include <doctest/doctest.h>

#include "supervisor/reply_json.h"
#include "tests/support/loopback_http.h"

namespace coderunner {
namespace {

using test::NotingHandler;

HttpRequest post(const std::string& path, std::string body, const std::string& id = "inv-1") {
  HttpRequest request;
  request.method = "POST";
  request.path = path;
  request.body = std::move(body);
  request.request_id = id;
  request.headers.emplace_back(kInvocationIdHeader, id);
  return request;
}

std::string envelope(const std::string& method, const std::string& headers = "{}") {
  return R"({"Data":{"req":{"Url":"http://h/api/run?a=b","Method":")" + method + R"(","Headers":)" + headers +
         R"(,"Body":"text"}},"Metadata":{}})";
}

// What the routes were asked, as text.
struct Hosted {
  NotingHandler routes;
  FunctionsHost host{routes};
  std::vector<HttpRequest> seen;
  Hosted() {
    routes.on_answer = [this](HttpRequest request) {
      seen.push_back(request);
      HttpReply reply;
      reply.body = request.method + " " + request.path + " " + request.body;
      return reply;
    };
  }
};

TEST_CASE("each function's envelope reaches its path and is answered in one") {
  for (const HostedFunction& function : kHostedFunctions) {
    CAPTURE(function.path);
    Hosted hosted;
    CHECK_FALSE(hosted.host.refuse(post(std::string(function.envelope_path), "")));
    const HttpReply reply = hosted.host.answer(post(std::string(function.envelope_path), envelope("GET")));
    CHECK(reply.status == 200);
    CHECK(reply.body.find("\"body\":\"GET " + std::string(function.path) + " text\"") != std::string::npos);
    CHECK(reply.body.find(R"("X-Request-Id":"inv-1")") != std::string::npos);
    REQUIRE(hosted.seen.size() == 1);
    CHECK(hosted.seen[0].param("a") == "b");
    CHECK(hosted.seen[0].request_id == "inv-1");
  }
}

TEST_CASE("an envelope can not ask for live output or choose its own invocation id") {
  Hosted hosted;
  hosted.host.answer(post("/run", envelope("POST", R"({"accept":["text/event-stream"],"X-Kept":["1"],)"
                                                   R"("x-azure-functions-invocationid":["forged"]})")));
  REQUIRE(hosted.seen.size() == 1);
  CHECK_FALSE(hosted.seen[0].header("Accept"));
  CHECK(hosted.seen[0].header("X-Kept") == "1");
  CHECK(hosted.seen[0].header(kInvocationIdHeader) == "inv-1");
}

TEST_CASE("a refusal by the routes travels in the envelope and is logged; a broken envelope is refused itself") {
  Hosted hosted;
  hosted.routes.on_head = [](const HttpRequest& head) -> std::optional<HttpReply> {
    if (head.method == "POST") return std::nullopt;
    return make_error_reply(Error{Fault::kMethod, "method not allowed: use POST"});
  };
  const HttpReply refused = hosted.host.answer(post("/run", envelope("PUT")));
  CHECK(refused.status == 200);
  CHECK(refused.body.find(R"("statusCode":405)") != std::string::npos);
  const HttpReply broken = hosted.host.answer(post("/run", "{}"));
  CHECK(broken.status == 400);
  CHECK(broken.error == "invocation: Data must be an object");
  CHECK(hosted.routes.refusals().size() == 2);
  CHECK(hosted.seen.empty());
}

TEST_CASE("an invocation runs once in either shape; what is none runs each time") {
  struct Row {
    std::string path, body;
    bool has_id;
    std::size_t runs;
  };
  const Row rows[] = {{"/run", envelope("POST"), true, 1}, {"/api/run", "text", true, 1},
                      {"/api/run", "text", false, 2}};
  for (const Row& row : rows) {
    CAPTURE(row.path);
    CAPTURE(row.has_id);
    Hosted hosted;
    std::string first;
    for (int i = 0; i < 2; ++i) {
      HttpRequest request = post(row.path, row.body);
      if (!row.has_id) request.request_id = "made-up";  // as when the header is not fit to be one
      const HttpReply reply = hosted.host.answer(std::move(request));
      if (i == 0) first = reply.body;
      CHECK(reply.body == first);
    }
    CHECK(hosted.seen.size() == row.runs);
  }
  Hosted hosted;
  for (int i = 0; i < 2; ++i) {
    HttpRequest probe = post("/", "");
    probe.method = "GET";
    hosted.host.answer(std::move(probe));
  }
  CHECK(hosted.seen.size() == 2);
}

// A client's end of a live answer.
class TakingStream : public HttpStream {
 public:
  void begin(const HttpReply& head) override { text += head.content_type + "|"; }
  void add(std::string_view piece) override { text += piece; }
  void end() override { text += "|end"; }
  [[nodiscard]] bool wants_write() const override { return false; }
  bool flush() override { return true; }
  [[nodiscard]] Bytes taken() const override { return text.size(); }
  std::string text;
};

TEST_CASE("a live answer is given again whole, unless it was too large or not brought to its end") {
  struct Row {
    std::string pieces;  // one a letter
    bool ends;
    int runs;
  };
  const Row rows[] = {{"abc", true, 1}, {"abc", false, 2}, {std::string(101, 'x'), true, 2}};
  for (const Row& row : rows) {
    CAPTURE(row.pieces);
    CAPTURE(row.ends);
    NotingHandler routes;
    FunctionsHost host(routes, {.keep = Millis(600'000), .count = 10, .bytes = 100});
    int runs = 0;
    routes.on_answer = [&](HttpRequest request) {
      ++runs;
      HttpReply head;
      head.content_type = "text/event-stream";
      request.stream->begin(head);
      for (const char piece : row.pieces) request.stream->add({&piece, 1});
      if (row.ends) request.stream->end();
      return HttpReply{};
    };
    TakingStream first, second;
    for (TakingStream* stream : {&first, &second}) {
      HttpRequest request = post("/api/run", "", "i");
      request.headers.emplace_back("Accept", "text/event-stream");
      request.stream = stream;
      const HttpReply reply = host.answer(std::move(request));
      if (row.runs == 1) CHECK(reply.body == "abc");
      if (row.runs == 1) CHECK(reply.content_type == "text/event-stream");
    }
    CHECK(first.text == "text/event-stream|" + row.pieces + (row.ends ? "|end" : ""));
    CHECK(second.text == (row.runs == 1 ? "" : first.text));
    CHECK(runs == row.runs);
  }
}

TEST_CASE("other paths and methods are the routes' matter") {
  Hosted hosted;
  hosted.routes.on_head = [](const HttpRequest& head) -> std::optional<HttpReply> {
    return make_error_reply(404, head.path);
  };
  CHECK(hosted.host.refuse(post("/other", ""))->error == "/other");
  HttpRequest get = post("/run", "");
  get.method = "GET";
  CHECK(hosted.host.refuse(get)->error == "/run");
}

}  // namespace
}  // namespace coderunner
