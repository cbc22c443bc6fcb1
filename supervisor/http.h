// Role: the HTTP server: listens, gives every connection a thread, hands requests to one handler as plain values.
// Callers: main.cc starts and stops it; routes.h is its handler; everything behind sees HttpRequest and HttpReply only.
// Law: http.cc is the only door to cpp-httplib. Whatever goes wrong below the handler is answered here, as JSON.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/limits.h"
#include "common/result.h"
#include "common/units.h"
#include "supervisor/held_bytes.h"

namespace coderunner {

struct HttpReply;

// The way to answer piece by piece while the handler runs, instead of with what it returns. Not to be used by two
// threads at once.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  // Status and fields; `head.body` means nothing. From here on what the handler returns is not sent.
  virtual void begin(const HttpReply& head) = 0;
  virtual void add(std::string_view piece) = 0;  // holds it; never waits
  // The answer is whole. A handler that returns without it has the connection closed, so that the client can tell.
  virtual void end() = 0;
  [[nodiscard]] virtual bool wants_write() const = 0;  // something is held that the client has not taken
  virtual bool flush() = 0;                            // writes what the client takes now; false: it has gone
  [[nodiscard]] virtual Bytes taken() const = 0;       // by the client since begin()
};

struct HttpRequest {
  std::string method;  // "GET"; case-sensitive (RFC 9110 section 9.1)
  std::string path;    // percent-decoded, without the query
  std::vector<std::pair<std::string, std::string>> params;   // of the query, decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;  // names as they came, values without outer blanks
  std::string body;        // framing removed; at most HttpConfig::body_bytes
  std::string request_id;  // of HttpConfig::id_headers, else fresh
  std::string peer_ip;     // of the socket: "127.0.0.1", "::1"; an IPv4-mapped address as IPv4
  int client_fd = -1;      // the client's socket, to notice its hang-up; borrowed, not to be read or written
  HeldBytes::Share* held = nullptr;  // what it counts for while it is held, borrowed like `stream`
  HttpStream* stream = nullptr;  // borrowed, for as long as the handler runs; nullptr: there is none
  Clock::time_point arrived{};  // when the head was complete

  // The first one of that name, any case; nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> param(std::string_view name) const;  // case-sensitive
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  // besides those that every answer carries
  std::string body;
  std::string error;  // the message of an error answer, for the audit log; not sent
  std::string_view mode = {};  // "raw", "script" or "files" once a run has been understood, for the metrics; not sent
};

// {"error":"…"}; `message` may hold any bytes.
HttpReply make_error_reply(int status, std::string_view message);

// Called on the connection's thread, from many threads at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Before the body is read: a reply refuses the request (404, 405); nullopt lets its body come.
  virtual std::optional<HttpReply> refuse(const HttpRequest& head) = 0;
  virtual HttpReply answer(HttpRequest request) = 0;
  // There is no memory for the body now: 429.
  virtual HttpReply refuse_busy(const HttpRequest& head) = 0;
  // Told of each refusal by the server itself and by refuse(), and of answer() throwing, for the audit log. `request`
  // holds what is known: never a body; of one that could not be parsed only peer_ip and request_id.
  virtual void on_refused(const HttpRequest& request, const HttpReply& reply) = 0;
};

// How long a client may take.
struct HttpTimes {
  Millis idle{75'000};   // between requests; above the 60 s of common proxies, which so close first
  Millis head{10'000};   // from the first byte of a request to the end of its head
  Millis body{30'000};   // for the body, plus a second for every `bytes_per_second` that have come; without a pause so long
  Millis write{30'000};  // for the answer, in the same way
  Millis stop{5'000};    // for what is left of an answer when the server stops
  Millis linger{3'000};  // for what a refused client still sends, so that it sees the answer before a reset
  Bytes bytes_per_second = 64 * kKiB;
};

struct HttpConfig {
  std::string host = "127.0.0.1";  // an address or a name
  int port = 0;                    // 0: a free one
  Bytes body_bytes = Limits{}.body_bytes;
  // Above `connections` the one that has been idle longest makes room; where none is idle the new one gets 503, and
  // `lingering` of these may take their time to go. No more than these and kGoing are accepted: the next ones wait.
  std::size_t connections = kMaxConnections, lingering = kMaxLingering;
  static constexpr std::size_t kGoing = 16;
  std::vector<std::string> id_headers = {"X-Request-Id"};  // whose well-formed value is the request id, best first
  HeldBytes* held = nullptr;  // what the bodies of requests count against; nullptr: nothing. Outlives the server
  HttpTimes times{};
};

class HttpServer {
 public:
  // Binds and listens; nobody is answered before serve(). The handler outlives the server.
  static Result<std::unique_ptr<HttpServer>> bind(HttpConfig config, HttpHandler& handler);
  ~HttpServer();

  [[nodiscard]] int port() const;
  // Accepts until stop(); returns when the last connection has ended.
  void serve();
  // No new connections; idle ones are closed, running requests are answered first. From any thread, at any time.
  void stop();

 private:
  class Listener;
  explicit HttpServer(std::unique_ptr<Listener> listener);
  std::unique_ptr<Listener> listener_;
};

}  // namespace coderunner
