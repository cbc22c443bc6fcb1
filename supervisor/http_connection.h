// Role: one client's connection from its first byte to its last: reads requests, bounds their time and size, answers.
// Callers: http.cc, one thread a connection.
// Law: every answer leaves through send_reply, which adds what each one carries (X-Request-Id, Server-Timing, Date).
// What a client sends before it may (a second request, say) waits in buffer_.
#pragma once

#include <string>

#include "common/unique_fd.h"
#include "supervisor/http.h"
#include "supervisor/http_head.h"

namespace coderunner {

class HttpConnection {
 public:
  // `stop_fd` becomes readable when no further request is to be read.
  HttpConnection(UniqueFd socket, const HttpConfig& config, HttpHandler& handler, int stop_fd);

  // Answers one request after another until either side has enough.
  void serve();
  // Answers 503 without reading anything.
  void turn_away();

 private:
  enum class Arrival { kBytes, kClosed, kTimedOut, kStopping };

  bool serve_one();  // false: the connection is over
  bool answer(ParsedHead head);
  // Appends to buffer_ what has come.
  Arrival read_more(Deadline deadline);
  // kBytes: a whole head is in buffer_, of head_bytes. An error is an answer to be given.
  HttpResult<Arrival> read_head(std::size_t& head_bytes);
  HttpResult<Arrival> read_body(const ParsedHead& head, std::string& body);
  // A slow client is given up when it stays below the agreed rate.
  [[nodiscard]] Deadline progress_deadline(Millis base, Clock::time_point start, Bytes moved) const;

  enum class After { kKeepAlive, kClose };
  bool send_reply(const HttpRequest& request, const HttpReply& reply, After after);
  bool send_all(std::string_view bytes);
  // Answers and ends the connection; always false, for serve_one.
  bool refuse_and_close(const HttpRequest& request, const HttpReply& reply);
  // Ends so that the client can read the answer: closing a socket with unread bytes resets the connection, and a
  // reset discards what the peer has not read yet (RFC 9112 section 9.6).
  void close_after_lingering();
  [[nodiscard]] bool stopping() const;
  [[nodiscard]] HttpRequest unparsed_request() const;

  UniqueFd socket_;
  const HttpConfig& config_;
  HttpHandler& handler_;
  int stop_fd_;
  std::string peer_ip_;
  std::string buffer_;
};

}  // namespace coderunner
