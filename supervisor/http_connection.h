// Role: one client's connection from its first byte to its last: reads requests, bounds their time and size, answers.
// Callers: http.cc, one thread a connection.
// Law: every answer leaves through send_reply or a ConnectionStream; both get its head from http_reply_head.h.
// What a client sends before it may (a second request, say) waits in buffer_.
#pragma once

#include <string>

#include "common/unique_fd.h"
#include "supervisor/http.h"
#include "supervisor/http_head.h"
#include "supervisor/http_reply_head.h"
#include "supervisor/idle_connections.h"

namespace coderunner {

class HttpConnection {
 public:
  // `stop_fd` becomes readable when no further request is to be read.
  HttpConnection(UniqueFd socket, const HttpConfig& config, HttpHandler& handler, IdleConnections& idle, int stop_fd);

  // Answers one request after another until either side has enough.
  void serve();
  // Answers 503. With kLinger what the client has sent is let pass first, so that it surely sees the answer.
  enum class TurnAway { kLinger, kAtOnce };
  void turn_away(TurnAway how);

 private:
  enum class Arrival { kBytes, kClosed, kTimedOut, kStopping, kNoRoom };

  bool serve_one();  // false: the connection is over
  bool answer(ParsedHead head);
  // Appends to buffer_ what has come, kReadBytes at most, or a head's worth.
  enum class Piece { kHead, kBody };
  Arrival read_more(Deadline deadline, Piece piece);
  // kBytes: a whole head is in buffer_, of head_bytes. An error is an answer to be given.
  HttpResult<Arrival> read_head(std::size_t& head_bytes);
  HttpResult<Arrival> read_body(const ParsedHead& head, HeldBytes::Share& held, std::string& body);
  // A slow client is given up when it stays below the agreed rate, and one that makes no progress for `base`.
  [[nodiscard]] Deadline progress_deadline(Millis base, Clock::time_point start, Bytes moved) const;

  bool send_reply(const HttpRequest& request, const HttpReply& reply, AfterReply after);
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
  IdleConnections& idle_;
  int stop_fd_;
  std::string peer_ip_;
  std::string buffer_;
  bool served_ = false;  // a request before
};

}  // namespace coderunner
