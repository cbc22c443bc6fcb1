// Role: the server over real loopback sockets.
#include "supervisor/http.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <future>
#include <stdexcept>

#include "common/sys.h"
#include "supervisor/idle_connections.h"
#include "supervisor/routes.h"
#include "tests/support/loopback_http.h"

namespace coderunner {
namespace {

using test::LoopbackClient;
using test::LoopbackServer;
using test::NotingHandler;

std::string get(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + more + "\r\n";
}

std::string post(const std::string& body, const std::string& more = "") {
  return "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" +
         body;
}

TEST_CASE("one connection carries many requests") {
  NotingHandler handler;
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  for (int i = 0; i < 50; ++i) {
    REQUIRE(client.send(i % 2 == 0 ? get("/" + std::to_string(i)) : post(std::to_string(i))));
    const auto reply = client.read_reply();
    CHECK(reply.status == 200);
    CHECK(reply.body == (i % 2 == 0 ? "GET /" + std::to_string(i) + " " : "POST /p " + std::to_string(i)));
    CHECK(reply.headers.at("Connection") == "keep-alive");
  }
}

TEST_CASE("requests sent ahead are answered in order") {
  NotingHandler handler;
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  REQUIRE(client.send("\r\n" + get("/1") + post("two") + "\r\n\r\n" + get("/3", "Connection: close\r\n")));
  CHECK(client.read_reply().body == "GET /1 ");
  CHECK(client.read_reply().body == "POST /p two");
  const auto last = client.read_reply();
  CHECK(last.body == "GET /3 ");
  CHECK(last.headers.at("Connection") == "close");
  CHECK(client.reads_end());
}

TEST_CASE("a request that comes byte by byte, and a chunked one, reach the handler whole") {
  NotingHandler handler;
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  const std::string wire =
      "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  for (const char c : wire) REQUIRE(client.send({&c, 1}));
  CHECK(client.read_reply().body == "POST /p abcde");
}

TEST_CASE("a large body and a large answer pass") {
  NotingHandler handler;
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  const std::string body(20 << 20, 'x');
  auto sending = std::async(std::launch::async, [&] { return client.send(post(body)); });
  const auto reply = client.read_reply();
  CHECK(sending.get());
  CHECK(reply.body.size() == body.size() + 8);
}

TEST_CASE("a client that asks for permission gets it, one that is refused does not") {
  NotingHandler handler;
  LoopbackServer server(handler, {.body_bytes = 10});
  {
    LoopbackClient client(server.port());
    REQUIRE(client.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
    CHECK(client.read_reply(LoopbackClient::Body::kNone).status == 100);
    REQUIRE(client.send("ok"));
    CHECK(client.read_reply().body == "POST /p ok");
  }
  LoopbackClient client(server.port());
  REQUIRE(client.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"));
  CHECK(client.read_reply().status == 413);
}

TEST_CASE("HEAD is answered like GET, without the body") {
  NotingHandler handler;
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  REQUIRE(client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + get("/y")));
  const auto head = client.read_reply(LoopbackClient::Body::kNone);
  CHECK(head.status == 200);
  CHECK(head.headers.at("Content-Length") == "8");
  CHECK(client.read_reply().body == "GET /y ");
}

TEST_CASE("what the server refuses by itself is JSON, closes the connection and is told to the handler") {
  struct Row {
    std::string wire;
    int status;
    std::string noted;
  };
  const std::string to_p = "POST /p HTTP/1.1\r\nHost: a\r\n";
  const Row rows[] = {
      {"nonsense\r\n\r\n", 400, "  400: malformed request line"},
      {get("/", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400, "  400: more than one Content-Length"},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n", 414, "  414: request line too long: at most 8192 bytes"},
      {get("/", "X: " + std::string(40000, 'a') + "\r\n"), 431, "  431: header too large: at most 32768 bytes"},
      {to_p + "\r\n", 411, "POST /p 411: Content-Length is required"},
      {to_p + "Content-Length: 101\r\n\r\n", 413, "POST /p 413: body too large: at most 100 bytes"},
      {to_p + "Content-Length: 99999999999999999999999\r\n\r\n", 413, "POST /p 413: body too large: at most 100 bytes"},
      {to_p + "Transfer-Encoding: chunked\r\n\r\n65\r\n", 413, "POST /p 413: body too large: at most 100 bytes"},
      {to_p + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "POST /p 400: malformed chunk size"},
      {to_p + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 415,
       "  415: Content-Encoding: only identity is supported"},
  };
  NotingHandler handler;
  LoopbackServer server(handler, {.body_bytes = 100});
  std::vector<std::string> expected;
  for (const Row& row : rows) {
    CAPTURE(row.noted);
    LoopbackClient client(server.port());
    REQUIRE(client.send(row.wire));
    const auto reply = client.read_reply();
    CHECK(reply.status == row.status);
    CHECK(reply.body == "{\"error\":\"" + row.noted.substr(row.noted.find(": ") + 2) + "\"}");
    CHECK(reply.headers.at("Content-Type") == "application/json");
    CHECK(reply.headers.at("Connection") == "close");
    CHECK(reply.headers.at("X-Request-Id").size() == 32);
    CHECK(reply.headers.at("Server-Timing") == "queue;dur=0.0, setup;dur=0.0, run;dur=0.0, collect;dur=0.0");
    CHECK(client.reads_end());
    expected.push_back(row.noted);
  }
  CHECK(handler.refusals() == expected);
}

TEST_CASE("a client that sends a body above the limit before it reads still gets its answer") {
  NotingHandler handler;
  LoopbackServer server(handler, {.body_bytes = 4 << 20});
  LoopbackClient client(server.port());
  // More than any socket buffer holds: the client would see a reset instead if nobody read.
  REQUIRE(client.send(post(std::string(7 << 20, 'x'))));
  CHECK(client.read_reply().status == 413);
  CHECK(client.reads_end());
}

TEST_CASE("a slow client is answered 408, a silent one is closed without a word") {
  NotingHandler handler;
  LoopbackServer server(handler, {.times = {.idle = Millis(50), .head = Millis(50), .body = Millis(50)}});
  LoopbackClient silent(server.port());
  CHECK(silent.reads_end());
  LoopbackClient slow_head(server.port());
  REQUIRE(slow_head.send("GET / HT"));
  CHECK(slow_head.read_reply().status == 408);
  CHECK(slow_head.reads_end());
  LoopbackClient slow_body(server.port());
  REQUIRE(slow_body.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"));
  const auto reply = slow_body.read_reply();
  CHECK(reply.status == 408);
  CHECK(reply.body == "{\"error\":\"the body did not arrive in time (0.05 s)\"}");
}

TEST_CASE("a client that takes no answer is given up, at the latest when the server stops") {
  constexpr Millis kSoon{50}, kHour{3600'000};
  for (const HttpTimes& times : {HttpTimes{.write = kSoon, .stop = kHour, .bytes_per_second = kGiB},
                                 HttpTimes{.write = kHour, .stop = kSoon}}) {
    NotingHandler handler;
    std::promise<void> entered;
    handler.on_answer = [&](HttpRequest) {
      HttpReply reply;
      reply.body.assign(64 << 20, 'x');
      entered.set_value();
      return reply;
    };
    auto server = std::make_unique<LoopbackServer>(handler, HttpConfig{.times = times});
    LoopbackClient client(server->port());
    REQUIRE(client.send(get("/")));
    entered.get_future().wait();
    server.reset();  // waits for its connections: with a server that never gives up this would not return
  }
}

TEST_CASE("an empty line behind a request begins no other one") {
  NotingHandler handler;
  LoopbackServer server(handler, {.times = {.head = Millis(50)}});
  LoopbackClient client(server.port());
  REQUIRE(client.send(post("x") + "\r\n"));
  CHECK(client.read_reply().body == "POST /p x");
  std::this_thread::sleep_for(Millis(200));  // so long that a head would have had to come
  REQUIRE(client.send("\r\n" + get("/next")));
  CHECK(client.read_reply().body == "GET /next ");
}

TEST_CASE("the request id is the client's when it is well-formed") {
  NotingHandler handler;
  handler.on_answer = [](HttpRequest request) {
    HttpReply reply;
    reply.body = request.request_id;
    return reply;
  };
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  for (const auto& good : std::vector<std::string>{"a", "A.b_c-9", std::string(64, 'x')}) {
    REQUIRE(client.send(get("/", "X-Request-Id: " + good + "\r\n")));
    const auto reply = client.read_reply();
    CHECK(reply.headers.at("X-Request-Id") == good);
    CHECK(reply.body == good);
  }
  for (const auto& bad : std::vector<std::string>{"", "a b", "a/b", "\"", std::string(65, 'x')}) {
    REQUIRE(client.send(get("/", "X-Request-Id: " + bad + "\r\n")));
    const auto reply = client.read_reply();
    CHECK(reply.body.size() == 32);
    CHECK(reply.body.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(reply.headers.at("X-Request-Id") == reply.body);
  }
}

TEST_CASE("the first configured header that is well-formed and sent once is the request id") {
  struct Row {
    std::string headers, id;  // empty: a fresh one
  };
  const Row rows[] = {
      {"X-Best: a\r\nX-Request-Id: b\r\n", "a"}, {"x-best: a\r\n", "a"},
      {"X-Request-Id: b\r\n", "b"},              {"X-Best: a b\r\nX-Request-Id: b\r\n", "b"},
      {"X-Best: a\r\nX-Best: c\r\n", ""},        {"X-Best: a, c\r\n", ""},
  };
  NotingHandler handler;
  LoopbackServer server(handler, {.id_headers = {"X-Best", "X-Request-Id"}});
  LoopbackClient client(server.port());
  for (const Row& row : rows) {
    CAPTURE(row.headers);
    REQUIRE(client.send(get("/", row.headers)));
    const std::string id = client.read_reply().headers.at("X-Request-Id");
    CHECK((row.id.empty() ? id.size() == 32 : id == row.id));
  }
}

TEST_CASE("a handler that throws costs its request only") {
  NotingHandler handler;
  handler.on_answer = [](HttpRequest request) -> HttpReply {
    if (request.path == "/throw") throw std::runtime_error("secret");
    return {};
  };
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  REQUIRE(client.send(get("/throw") + get("/fine")));
  const auto reply = client.read_reply();
  CHECK(reply.status == 500);
  CHECK(reply.body == R"({"error":"internal error"})");
  CHECK(client.read_reply().status == 200);
  CHECK(handler.refusals() == std::vector<std::string>{"GET /throw 500: internal error"});
}

TEST_CASE("300 clients are served at once") {
  constexpr int kClients = 300;
  NotingHandler handler;
  std::promise<void> all_there;
  std::atomic<int> inside = 0;
  auto open = all_there.get_future().share();
  handler.on_answer = [&](HttpRequest) {
    if (++inside == kClients) all_there.set_value();
    open.wait();  // nobody leaves before the last has come: a server of fewer threads would stand still
    return HttpReply{};
  };
  LoopbackServer server(handler);
  std::vector<LoopbackClient> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(server.port());
  for (auto& client : clients) REQUIRE(client.send(get("/")));
  for (auto& client : clients) CHECK(client.read_reply().status == 200);
}

TEST_CASE("above the limit a new connection takes the place of an idle one") {
  NotingHandler handler;
  LoopbackServer server(handler, {.connections = 2});
  LoopbackClient first(server.port()), second(server.port());
  for (LoopbackClient* client : {&first, &second}) {
    REQUIRE(client->send(get("/")));
    REQUIRE(client->read_reply().status == 200);
  }
  int status = 503;  // until the server sees that the two wait for a request again
  for (int i = 0; i < 10'000 && status != 200; ++i) {
    LoopbackClient next(server.port());
    next.send(get("/"));
    status = next.read_reply().status;
  }
  CHECK(status == 200);
  int kept = 0;
  for (LoopbackClient* client : {&first, &second}) {
    client->send(get("/"));
    kept += client->read_reply().status == 200 ? 1 : 0;
  }
  CHECK(kept == 1);
}

TEST_CASE("the connection that has been idle longest is ended first, and one that has left never") {
  std::array<Pipe, 3> pairs = {sys::make_socket_pair().value(), sys::make_socket_pair().value(),
                               sys::make_socket_pair().value()};
  const auto ended = [&](std::size_t i) {
    pollfd entry{pairs[i].write.get(), POLLIN, 0};
    return sys::poll({&entry, 1}, Deadline::in(Millis(0))).value() == 1;
  };
  IdleConnections idle;
  CHECK_FALSE(idle.end_longest_idle());
  IdleConnections::Stay first(idle, pairs[0].read.get()), second(idle, pairs[1].read.get()),
      third(idle, pairs[2].read.get());
  CHECK(first.leave());
  CHECK(idle.end_longest_idle());
  CHECK_FALSE(ended(0));
  CHECK(ended(1));
  CHECK_FALSE(ended(2));
  CHECK_FALSE(second.leave());
  CHECK(third.leave());
  CHECK_FALSE(idle.end_longest_idle());
}

TEST_CASE("above the limit, with none idle, a new connection is answered 503, also when it has sent a request") {
  NotingHandler handler;
  std::promise<void> entered, go_on;
  handler.on_answer = [&](HttpRequest) {
    entered.set_value();
    go_on.get_future().wait();
    return HttpReply{};
  };
  LoopbackServer server(handler, {.connections = 1});
  LoopbackClient busy(server.port());
  REQUIRE(busy.send(get("/")));
  entered.get_future().wait();
  for (const std::string& request : {std::string(), post(std::string(100'000, 'x'))}) {
    LoopbackClient second(server.port());
    second.send(request);
    const auto refusal = second.read_reply();
    CHECK(refusal.status == 503);
    CHECK(refusal.headers.at("Retry-After") == "1");
  }
  CHECK(handler.refusals() == std::vector<std::string>(2, "  503: too many connections: at most 1"));
  go_on.set_value();
  CHECK(busy.read_reply().status == 200);
}

TEST_CASE("bodies that are being read count against their bound together, and what was held is given back") {
  NotingHandler handler;
  HeldBytes held(100'000);
  LoopbackServer server(handler, {.held = &held});
  const std::string start = "POST /p HTTP/1.1\r\nHost: a\r\n";
  LoopbackClient reading(server.port());
  REQUIRE(reading.send(start + "Content-Length: 90000\r\n\r\n" + std::string(80'000, 'x')));
  while (held.held() < 80'000) std::this_thread::yield();

  LoopbackClient announced(server.port());
  REQUIRE(announced.send(post(std::string(30'000, 'x'))));
  CHECK(announced.read_reply().status == 429);
  LoopbackClient growing(server.port());  // its size is not known before
  REQUIRE(growing.send(start + "Transfer-Encoding: chunked\r\n\r\n7530\r\n" + std::string(30'000, 'x') + "\r\n"));
  CHECK(growing.read_reply().status == 429);
  LoopbackClient small(server.port());
  REQUIRE(small.send(post("small")));
  CHECK(small.read_reply().status == 200);

  REQUIRE(reading.send(std::string(10'000, 'x')));
  CHECK(reading.read_reply().status == 200);
  while (held.held() > 0) std::this_thread::yield();
  // Alone, a request may be larger than the bound.
  LoopbackClient alone(server.port());
  REQUIRE(alone.send(post(std::string(200'000, 'x'))));
  CHECK(alone.read_reply().status == 200);
}

TEST_CASE("an answer counts until its client has it") {
  NotingHandler handler;
  handler.on_answer = [](HttpRequest request) {
    HttpReply reply;
    if (request.path == "/large") reply.body.assign(64 << 20, 'x');
    return reply;
  };
  HeldBytes held(100'000);
  LoopbackServer server(handler, {.held = &held});
  {
    LoopbackClient who_does_not_read(server.port());
    REQUIRE(who_does_not_read.send(get("/large")));
    while (held.held() < 64 << 20) std::this_thread::yield();
    LoopbackClient other(server.port());
    REQUIRE(other.send(get("/")));  // brings nothing that would have to be held
    CHECK(other.read_reply().status == 200);
    REQUIRE(other.send(post("small")));
    CHECK(other.read_reply().status == 429);
  }
  while (held.held() > 0) std::this_thread::yield();
  LoopbackClient next(server.port());
  REQUIRE(next.send(post("small")));
  CHECK(next.read_reply().status == 200);
}

TEST_CASE("a handler can see its client hang up") {
  NotingHandler handler;
  std::promise<void> entered;
  std::promise<short> seen;
  handler.on_answer = [&](HttpRequest request) {
    entered.set_value();
    pollfd entry{request.client_fd, POLLRDHUP, 0};
    (void)sys::poll({&entry, 1}, Deadline::in(Millis(30'000)));
    seen.set_value(entry.revents);
    return HttpReply{};
  };
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  REQUIRE(client.send(get("/")));
  entered.get_future().wait();
  client.close();
  CHECK((seen.get_future().get() & POLLRDHUP) != 0);
}

TEST_CASE("stop ends idle connections and lets running requests be answered") {
  NotingHandler handler;
  std::promise<void> entered, go_on;
  handler.on_answer = [&](HttpRequest) {
    entered.set_value();
    go_on.get_future().wait();
    return HttpReply{};
  };
  LoopbackServer server(handler);
  LoopbackClient idle(server.port()), running(server.port());
  REQUIRE(running.send(get("/")));
  entered.get_future().wait();
  server.stop();
  CHECK(idle.reads_end());
  go_on.set_value();
  const auto reply = running.read_reply();
  CHECK(reply.status == 200);
  CHECK(reply.headers.at("Connection") == "close");
  CHECK(running.reads_end());
}

TEST_CASE("a server listens where it is told, and says so when it cannot") {
  NotingHandler handler;
  handler.on_answer = [](HttpRequest request) {
    HttpReply reply;
    reply.body = request.peer_ip;
    return reply;
  };
  {
    LoopbackServer server(handler, {.host = "localhost"});
    CHECK(server.port() > 0);
  }
  if (::access("/proc/net/if_inet6", R_OK) == 0) {
    LoopbackServer server(handler, {.host = "::1"});
    LoopbackClient client(server.port(), "::1");
    REQUIRE(client.send(get("/")));
    CHECK(client.read_reply().body == "::1");
  }
  LoopbackServer server(handler);
  LoopbackClient client(server.port());
  REQUIRE(client.send(get("/")));
  CHECK(client.read_reply().body == "127.0.0.1");
  const auto taken = HttpServer::bind({.port = server.port()}, handler);
  REQUIRE_FALSE(taken.has_value());
  CHECK(taken.error().message.starts_with("listen(127.0.0.1:" + std::to_string(server.port()) + "): EADDRINUSE"));
}

TEST_CASE("routes: paths, methods and HEAD") {
  std::vector<std::string> refused;
  auto say = [](const char* text) {
    return [text](HttpRequest) {
      HttpReply reply;
      reply.body = text;
      return reply;
    };
  };
  const auto locked = [](const HttpRequest& head) {
    return head.header("Key") ? std::nullopt : std::optional(make_error_reply(401, "no key"));
  };
  Routes routes({{"POST", "/api/run", say("run")},
                 {"GET", "/api/health", say("health")},
                 {"GET", "/", say("front")},
                 {"POST", "/locked", say("inside"), locked}},
                [&](const HttpRequest& request, const HttpReply& reply) {
                  refused.push_back(request.method + " " + request.path + " " + std::to_string(reply.status));
                },
                [] { return make_error_reply(429, "busy"); });
  LoopbackServer server(routes);
  struct Row {
    std::string wire;
    int status;
    std::string body, allow;
  };
  const std::string host = " HTTP/1.1\r\nHost: a\r\n";
  const Row rows[] = {
      {"GET /" + host + "\r\n", 200, "front", ""},
      {"GET /api/health?x=1" + host + "\r\n", 200, "health", ""},
      {"POST /api/run" + host + "Content-Length: 0\r\n\r\n", 200, "run", ""},
      {"GET /nothing" + host + "\r\n", 404, R"({"error":"not found"})", ""},
      {"GET /api/run/" + host + "\r\n", 404, R"({"error":"not found"})", ""},
      {"GET /api/run" + host + "\r\n", 405, R"({"error":"method not allowed: use POST"})", "POST"},
      {"DELETE /api/health" + host + "\r\n", 405, R"({"error":"method not allowed: use GET, HEAD"})", "GET, HEAD"},
      {"POST /locked" + host + "Key: x\r\nContent-Length: 0\r\n\r\n", 200, "inside", ""},
      // A body that is not wanted is not waited for.
      {"POST /locked" + host + "Content-Length: 9\r\n\r\n", 401, R"({"error":"no key"})", ""},
      {"PUT /api/run" + host + "Content-Length: 9\r\n\r\n", 405, R"({"error":"method not allowed: use POST"})", "POST"},
      {"POST /nothing" + host + "Content-Length: 99999999999\r\n\r\n", 404, R"({"error":"not found"})", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.wire);
    LoopbackClient client(server.port());
    REQUIRE(client.send(row.wire));
    auto reply = client.read_reply();
    CHECK(reply.status == row.status);
    CHECK(reply.body == row.body);
    CHECK(reply.headers["Allow"] == row.allow);
  }
  LoopbackClient client(server.port());
  REQUIRE(client.send("HEAD /api/health" + host + "\r\n"));
  CHECK(client.read_reply(LoopbackClient::Body::kNone).status == 200);
  REQUIRE(client.send("GET /nothing" + host + "\r\nGET /nothing" + host + "Connection: close\r\n\r\n"));
  CHECK(client.read_reply().headers.at("Connection") == "keep-alive");
  CHECK(client.read_reply().headers.at("Connection") == "close");
  CHECK(client.reads_end());
  CHECK(refused == std::vector<std::string>{"GET /nothing 404", "GET /api/run/ 404", "GET /api/run 405",
                                            "DELETE /api/health 405", "POST /locked 401", "PUT /api/run 405",
                                            "POST /nothing 404", "GET /nothing 404", "GET /nothing 404"});
}

}  // namespace
}  // namespace coderunner
