// Role: see http_stream.h.
#include "supervisor/http_stream.h"

#include <utility>

#include <fmt/format.h>

#include "common/sys.h"

namespace coderunner {

ConnectionStream::ConnectionStream(int socket, std::string request_id, StreamFraming framing, AfterReply after)
    : socket_(socket), request_id_(std::move(request_id)), framing_(framing), after_(after) {}

void ConnectionStream::begin(const HttpReply& head) {
  const bool chunked = framing_ == StreamFraming::kChunked;
  out_ += format_reply_head(request_id_, head, chunked ? "Transfer-Encoding: chunked\r\n" : "",
                            chunked ? after_ : AfterReply::kClose);
  state_ = State::kBegun;
}

void ConnectionStream::add(std::string_view piece) {
  if (piece.empty()) return;  // a chunk of no bytes would be the last one
  if (framing_ == StreamFraming::kUntilClose) {
    out_ += piece;
    return;
  }
  fmt::format_to(std::back_inserter(out_), "{:x}\r\n", piece.size());
  out_ += piece;
  out_ += "\r\n";
}

void ConnectionStream::end() {
  if (framing_ == StreamFraming::kChunked) out_ += "0\r\n\r\n";
  state_ = State::kEnded;
}

bool ConnectionStream::flush() {
  while (wants_write()) {
    const auto count = sys::write_some(socket_, unsent());
    if (!count) return false;
    if (!*count) return true;
    sent_ += **count;
    taken_ += **count;
  }
  // A large event leaves no large buffer behind.
  if (out_.capacity() > kMaxIdleBuffer) std::string().swap(out_);
  out_.clear();
  sent_ = 0;
  return true;
}

}  // namespace coderunner
