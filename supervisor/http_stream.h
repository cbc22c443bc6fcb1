// Role: an answer that leaves piece by piece: chunked (RFC 9112 section 7.1), or until the connection closes.
// Callers: http_connection.cc makes one for each request; reply_stream.cc fills it as an HttpStream.
// Law: never waits. What the client has not taken is held here, and whoever fills it stops while there is any.
#pragma once

#include <string>

#include "supervisor/http.h"
#include "supervisor/http_reply_head.h"

namespace coderunner {

enum class StreamFraming { kChunked, kUntilClose };

class ConnectionStream : public HttpStream {
 public:
  // `socket` is borrowed and non-blocking.
  ConnectionStream(int socket, std::string request_id, StreamFraming framing, AfterReply after);

  void begin(const HttpReply& head) override;
  void add(std::string_view piece) override;
  void end() override;
  [[nodiscard]] bool wants_write() const override { return sent_ < out_.size(); }
  bool flush() override;
  [[nodiscard]] Bytes taken() const override { return taken_; }

  [[nodiscard]] bool begun() const { return state_ != State::kSilent; }
  [[nodiscard]] bool ended() const { return state_ == State::kEnded; }
  // What flush() has not got rid of.
  [[nodiscard]] std::string_view unsent() const { return std::string_view(out_).substr(sent_); }

 private:
  enum class State { kSilent, kBegun, kEnded };
  static constexpr std::size_t kMaxIdleBuffer = 256 * kKiB;
  const int socket_;
  const std::string request_id_;
  const StreamFraming framing_;
  const AfterReply after_;
  State state_ = State::kSilent;
  std::string out_;
  std::size_t sent_ = 0;
  Bytes taken_ = 0;
};

}  // namespace coderunner
