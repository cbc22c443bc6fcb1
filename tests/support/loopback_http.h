// Role: a server on a loopback port with a handler made of lambdas; a client that says exactly the bytes it is told.
// Callers: tests of http.h and routes.h.
// Law: a read waits at most 30 s, far above anything measured; no test asserts how long something took.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"
#include "supervisor/http.h"

namespace coderunner::test {

class LoopbackServer {
 public:
  explicit LoopbackServer(HttpHandler& handler, HttpConfig config = {});
  ~LoopbackServer();  // stops and joins
  [[nodiscard]] int port() const { return server_->port(); }
  void stop() { server_->stop(); }

 private:
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

struct ReceivedReply {
  int status = 0;  // 0: the connection ended before a whole reply
  std::map<std::string, std::string> headers;
  std::string body;
};

class LoopbackClient {
 public:
  explicit LoopbackClient(int port, const std::string& host = "127.0.0.1");
  // False when the server has closed.
  bool send(std::string_view bytes);
  // The next reply; `head_only` when it has no body whatever its Content-Length says (HEAD, 100).
  enum class Body { kByLength, kNone };
  ReceivedReply read_reply(Body body = Body::kByLength);
  // True at the end of the stream; false when a byte comes.
  bool reads_end();
  void half_close();
  void close() { socket_.reset(); }

 private:
  bool fill();
  UniqueFd socket_;
  std::string buffer_;
};

// A handler that notes what it was told of.
class NotingHandler : public HttpHandler {
 public:
  std::function<HttpReply(HttpRequest)> on_answer = [](HttpRequest request) {
    HttpReply reply;
    reply.content_type = "text/plain";
    reply.body = request.method + " " + request.path + " " + request.body;
    return reply;
  };
  std::function<std::optional<HttpReply>(const HttpRequest&)> on_head = [](const HttpRequest&) { return std::nullopt; };

  std::optional<HttpReply> refuse(const HttpRequest& head) override { return on_head(head); }
  HttpReply answer(HttpRequest request) override { return on_answer(std::move(request)); }
  HttpReply refuse_busy(const HttpRequest&) override { return make_error_reply(429, "busy"); }
  void on_refused(const HttpRequest& request, const HttpReply& reply) override;
  [[nodiscard]] std::vector<std::string> refusals() const;  // "POST /x 413: body too large…"

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> refusals_;
};

}  // namespace coderunner::test
