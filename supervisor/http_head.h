// Role: the bytes of HTTP/1.1 requests -> plain values: the head, and a chunked body.
// Callers: http_connection.cc.
// Law: pure functions over bytes. Stricter than RFC 9112 demands wherever two readers could disagree about where a
// request ends (section 11.2, request smuggling): such a request is refused, never interpreted.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "supervisor/http.h"

namespace coderunner {

struct HttpError {
  int status = 400;
  std::string message;
};
template <class T>
using HttpResult = std::expected<T, HttpError>;

inline std::unexpected<HttpError> refuse(int status, std::string message) {
  return std::unexpected(HttpError{status, std::move(message)});
}

enum class BodyFraming { kNone, kLength, kChunked };

struct ParsedHead {
  HttpRequest request;  // method, path, params, headers
  BodyFraming framing = BodyFraming::kNone;
  Bytes content_length = 0;
  bool keep_alive = true;
  bool http_1_0 = false;
  bool expects_continue = false;
};

// Bytes up to and with the empty line that ends the head, or 0 while that has not come. `scanned` remembers across
// calls how far the bytes have been looked at; it begins at 0. Errors: 400 (a line without CR), 414, 431.
HttpResult<std::size_t> find_head_end(std::string_view bytes, std::size_t& scanned);

// The same of a buffer that begins between two requests: empty lines before one are to be ignored (RFC 9112 section
// 2.2), and are taken out.
HttpResult<std::size_t> find_next_head(std::string& buffer, std::size_t& scanned);

// `head` as measured by find_head_end. Errors: 400, 415, 417, 431, 501, 505.
HttpResult<ParsedHead> parse_head(std::string_view head);

// Path and parameters of a target in origin form, "/path?a=b"; never fails.
void parse_target(std::string_view target, HttpRequest& request);

// Takes the chunked coding off a body (RFC 9112 section 7.1). Extensions and trailers are dropped; a line that could
// end elsewhere for another reader is refused all the same.
class ChunkedDecoder {
 public:
  explicit ChunkedDecoder(Bytes limit) : limit_(limit) {}
  // Appends what the bytes hold to `body`; the number of bytes that belonged to it. Errors: 400, 413, 431.
  HttpResult<std::size_t> feed(std::string_view bytes, std::string& body);
  [[nodiscard]] bool finished() const { return state_ == State::kFinished; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kFinished };
  HttpResult<void> end_line(const std::string& body);

  State state_ = State::kSize;
  Bytes limit_;
  Bytes left_ = 0;            // of the chunk at hand
  std::size_t trailers_ = 0;  // fields seen
  std::string line_;
};

}  // namespace coderunner
