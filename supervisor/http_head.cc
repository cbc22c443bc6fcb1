// Role: parses the head of a request and decodes chunked bodies; see http_head.h.
#include "supervisor/http_head.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace coderunner {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           kMarks.find(static_cast<char>(c)) != kMarks.npos;
  });
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// What a line may hold (RFC 9110 section 5.5): a CR alone, for one, is the end of a line to some readers.
bool is_clean(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c != '\t' && is_control(c); });
}

std::string_view trim_blanks(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string_view take_until(std::string_view& text, char end) {
  const auto at = text.find(end);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + 1);
  return taken;
}

std::string_view take_line(std::string_view& text) {
  const auto at = text.find("\r\n");
  const std::string_view line = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + 2);
  return line;
}

enum class Plus { kStays, kIsBlank };

// An escape that is none stays as it is, as browsers and Python's urllib do.
std::string decode_percent(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += plus == Plus::kIsBlank && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

struct RequestLine {
  std::string_view method, target;
  std::string_view authority;  // of a target in absolute form
  bool http_1_0 = false;
};

HttpResult<RequestLine> parse_request_line(std::string_view line) {
  RequestLine out;
  out.method = take_until(line, ' ');
  out.target = take_until(line, ' ');
  if (!is_token(out.method) || out.target.empty() || std::ranges::any_of(out.target, is_control)) {
    return refuse(400, "malformed request line");
  }
  const auto is_digit = [&](std::size_t at) { return line[at] >= '0' && line[at] <= '9'; };
  if (line.size() != 8 || !line.starts_with("HTTP/") || !is_digit(5) || line[6] != '.' || !is_digit(7)) {
    return refuse(400, "malformed request line");
  }
  if (!line.starts_with("HTTP/1.")) return refuse(505, "HTTP version not supported: use HTTP/1.1");
  out.http_1_0 = line[7] == '0';
  // The absolute form has to be understood (RFC 9112 section 3.2.2), and its authority beats the Host field.
  if (const auto scheme = out.target.find("://"); out.target[0] != '/' && scheme != out.target.npos) {
    out.target.remove_prefix(scheme + 3);
    const auto path = out.target.find_first_of("/?");
    out.authority = out.target.substr(0, path);
    out.target = path == out.target.npos ? "/" : out.target.substr(path);
  }
  return out;
}

struct Field {
  std::string_view name, value;
};

// A line that begins with a blank (obsolete folding) and a blank before the colon both fail as no token.
std::optional<Field> parse_field(std::string_view line) {
  const bool has_colon = line.find(':') != line.npos;
  const std::string_view name = take_until(line, ':');
  if (!has_colon || !is_token(name) || !is_clean(line)) return std::nullopt;
  return Field{name, trim_blanks(line)};
}

HttpResult<void> parse_fields(std::string_view fields, HttpRequest& request) {
  while (!fields.empty()) {
    const std::string_view line = take_line(fields);
    if (line.empty()) break;
    if (request.headers.size() == kMaxHeaderFields) {
      return refuse(431, fmt::format("too many header fields: at most {}", kMaxHeaderFields));
    }
    const auto field = parse_field(line);
    if (!field) return refuse(400, "malformed header field");
    request.headers.emplace_back(field->name, field->value);
  }
  return {};
}

// How many fields have that name; the last one's value.
std::size_t count_fields(const HttpRequest& request, std::string_view name, std::string_view& value) {
  std::size_t count = 0;
  for (const auto& [field, text] : request.headers) {
    if (!equals_ignoring_case(field, name)) continue;
    value = text;
    ++count;
  }
  return count;
}

// RFC 9112 section 6.3, with every doubtful case refused.
HttpResult<void> decide_framing(bool http_1_0, ParsedHead& head) {
  std::string_view coding, length;
  const std::size_t codings = count_fields(head.request, "Transfer-Encoding", coding);
  const std::size_t lengths = count_fields(head.request, "Content-Length", length);
  if (codings > 0) {
    if (lengths > 0) return refuse(400, "both Content-Length and Transfer-Encoding");
    if (http_1_0) return refuse(400, "Transfer-Encoding needs HTTP/1.1");
    if (codings > 1 || !equals_ignoring_case(coding, "chunked")) {
      return refuse(501, "Transfer-Encoding: only chunked is supported");
    }
    head.framing = BodyFraming::kChunked;
  } else if (lengths > 0) {
    if (lengths > 1) return refuse(400, "more than one Content-Length");
    if (length.empty() || length.find_first_not_of("0123456789") != length.npos) {
      return refuse(400, "malformed Content-Length");
    }
    head.framing = BodyFraming::kLength;
    const auto parsed = std::from_chars(length.data(), length.data() + length.size(), head.content_length);
    if (parsed.ec != std::errc{}) head.content_length = UINT64_MAX;  // out of range: 413 like any that is too long
  }
  return {};
}

bool lists_option(const HttpRequest& request, std::string_view option) {
  for (const auto& [name, value] : request.headers) {
    if (!equals_ignoring_case(name, "Connection")) continue;
    for (std::string_view rest = value; !rest.empty();) {
      if (equals_ignoring_case(trim_blanks(take_until(rest, ',')), option)) return true;
    }
  }
  return false;
}

}  // namespace

void parse_target(std::string_view target, HttpRequest& request) {
  std::string_view query = target;
  request.path = decode_percent(take_until(query, '?'), Plus::kStays);
  while (!query.empty()) {
    std::string_view value = take_until(query, '&');
    if (value.empty()) continue;
    const std::string_view name = take_until(value, '=');
    request.params.emplace_back(decode_percent(name, Plus::kIsBlank), decode_percent(value, Plus::kIsBlank));
  }
}

HttpResult<std::size_t> find_head_end(std::string_view bytes, std::size_t& scanned) {
  for (;;) {
    const auto end = bytes.find('\n', scanned);
    const std::size_t least = end == bytes.npos ? bytes.size() : end + 1;  // of the head, so far
    if (scanned == 0 && least > kMaxRequestLineBytes) {
      return refuse(414, fmt::format("request line too long: at most {} bytes", kMaxRequestLineBytes));
    }
    if (least > kMaxHeadBytes) {
      return refuse(431, fmt::format("header too large: at most {} bytes", kMaxHeadBytes));
    }
    if (end == bytes.npos) return 0;
    if (end == 0 || bytes[end - 1] != '\r') return refuse(400, "malformed header: a line must end in CR LF");
    scanned = end + 1;
    if (bytes.substr(0, scanned).ends_with("\r\n\r\n")) return scanned;
  }
}

HttpResult<std::size_t> find_next_head(std::string& buffer, std::size_t& scanned) {
  while (scanned == 0 && buffer.starts_with("\r\n")) buffer.erase(0, 2);
  return find_head_end(buffer, scanned);
}

HttpResult<ParsedHead> parse_head(std::string_view head) {
  ParsedHead out;
  const RequestLine start = TRY(parse_request_line(take_line(head)));
  TRY(parse_fields(head, out.request));
  out.request.method = start.method;
  parse_target(start.target, out.request);

  std::string_view value;
  const std::size_t hosts = count_fields(out.request, "Host", value);
  if (hosts > 1 || (hosts == 0 && !start.http_1_0)) return refuse(400, "exactly one Host header is required");
  if (!start.authority.empty()) {
    for (auto& [name, text] : out.request.headers) {
      if (equals_ignoring_case(name, "Host")) text = start.authority;
    }
  }
  TRY(decide_framing(start.http_1_0, out));
  if (count_fields(out.request, "Content-Encoding", value) > 0 && !equals_ignoring_case(value, "identity")) {
    return refuse(415, "Content-Encoding: only identity is supported");
  }
  if (count_fields(out.request, "Expect", value) > 0 && !start.http_1_0) {
    if (!equals_ignoring_case(value, "100-continue")) return refuse(417, "Expect: only 100-continue is supported");
    out.expects_continue = true;
  }
  out.http_1_0 = start.http_1_0;
  out.keep_alive = start.http_1_0 ? lists_option(out.request, "keep-alive") : !lists_option(out.request, "close");
  return out;
}

HttpResult<std::size_t> ChunkedDecoder::feed(std::string_view bytes, std::string& body) {
  std::size_t used = 0;
  while (used < bytes.size() && !finished()) {
    if (state_ == State::kData) {
      const std::size_t piece = std::min<Bytes>(left_, bytes.size() - used);
      body.append(bytes, used, piece);
      used += piece;
      left_ -= piece;
      if (left_ == 0) state_ = State::kDataEnd;
      continue;
    }
    const char c = bytes[used++];
    line_ += c;
    if (line_.size() > kMaxChunkLineBytes) return refuse(400, "malformed chunk: line too long");
    if (c != '\n') continue;
    if (!line_.ends_with("\r\n")) return refuse(400, "malformed chunk: a line must end in CR LF");
    line_.resize(line_.size() - 2);
    if (!is_clean(line_)) return refuse(400, "malformed chunk: a control character in its line");
    TRY(end_line(body));
    line_.clear();
  }
  return used;
}

HttpResult<void> ChunkedDecoder::end_line(const std::string& body) {
  switch (state_) {
    case State::kSize: {
      const std::string_view size = trim_blanks(std::string_view(line_).substr(0, line_.find(';')));
      const auto parsed = std::from_chars(size.data(), size.data() + size.size(), left_, 16);
      if (size.empty() || parsed.ptr != size.data() + size.size()) return refuse(400, "malformed chunk size");
      if (parsed.ec != std::errc{} || left_ > limit_ - body.size()) {
        return refuse(413, fmt::format("body too large: at most {} bytes", limit_));
      }
      state_ = left_ == 0 ? State::kTrailer : State::kData;
      return {};
    }
    case State::kDataEnd:
      if (!line_.empty()) return refuse(400, "malformed chunk: longer than its size");
      state_ = State::kSize;
      return {};
    case State::kTrailer:
      if (line_.empty()) state_ = State::kFinished;
      else if (!parse_field(line_)) return refuse(400, "malformed trailer field");
      else if (++trailers_ > kMaxHeaderFields) return refuse(431, "too many trailer fields");
      return {};
    case State::kData:
    case State::kFinished: break;  // have no lines
  }
  return {};
}

}  // namespace coderunner
