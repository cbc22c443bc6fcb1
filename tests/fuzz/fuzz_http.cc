// Role: libFuzzer target: whatever bytes a client sends, the parser of heads and the decoder of chunked bodies do not
// crash, do not depend on how the network cuts them, and take nothing that their grammar does not have.
// Callers: libFuzzer; the committed corpus is made by make_corpus.py.
// Law: the input is that of pieces.h. The grammar (RFC 9112, less what http_head.h refuses) is written down here a
// second time, over whole texts, and compared.
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "common/limits.h"
#include "supervisor/http_head.h"
#include "tests/fuzz/pieces.h"

using namespace coderunner;

namespace {

constexpr Bytes kBodyLimit = 300;  // small, so that short inputs reach both sides of it
constexpr std::string_view kDigits = "0123456789";

bool is_name(std::string_view text) {
  constexpr std::string_view kAllowed =
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return !text.empty() && text.find_first_not_of(kAllowed) == text.npos;
}

bool is_text(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7f; });
}

std::string_view without_blanks(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

bool is_field(std::string_view line) {
  const auto colon = line.find(':');
  return colon != line.npos && is_name(line.substr(0, colon)) && is_text(line.substr(colon + 1));
}

// The next line and its CR LF; nullopt where there is none, or bytes that no line may hold.
std::optional<std::string_view> next_line(std::string_view& rest) {
  const auto end = rest.find("\r\n");
  if (end == rest.npos || !is_text(rest.substr(0, end))) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

struct Chunked {
  std::string body;
  std::size_t used = 0;
  bool operator==(const Chunked&) const = default;
};

// The body that begins these bytes in the chunked coding, and how many of them it takes.
std::optional<Chunked> read_chunked(std::string_view bytes) {
  std::string body;
  std::string_view rest = bytes;
  for (;;) {
    const auto line = next_line(rest);
    if (!line || line->size() + 2 > kMaxChunkLineBytes) return std::nullopt;
    const std::string_view size = without_blanks(line->substr(0, line->find(';')));
    std::uint64_t left = 0;
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), left, 16);
    if (error != std::errc{} || end != size.data() + size.size()) return std::nullopt;
    if (left > kBodyLimit - body.size()) return std::nullopt;
    if (left == 0) break;
    if (rest.size() < left + 2 || rest.substr(left, 2) != "\r\n") return std::nullopt;
    body += rest.substr(0, left);
    rest.remove_prefix(left + 2);
  }
  for (std::size_t trailers = 0;; ++trailers) {
    const auto line = next_line(rest);
    if (!line || line->size() + 2 > kMaxChunkLineBytes) return std::nullopt;
    if (line->empty()) return Chunked{body, bytes.size() - rest.size()};
    if (!is_field(*line) || trailers == kMaxHeaderFields) return std::nullopt;
  }
}

struct Exchange {
  std::string head_bytes, body_bytes;  // as they came
  ParsedHead head;
  std::string body;
};

auto outline(const ParsedHead& head) {
  const HttpRequest& request = head.request;
  return std::tie(request.method, request.path, request.params, request.headers, head.framing, head.content_length,
                  head.keep_alive, head.http_1_0, head.expects_continue);
}

// Reads requests out of pieces, in the steps of HttpConnection.
class Reader {
 public:
  // False: the connection is over.
  bool feed(std::string_view piece) {
    buffer_ += piece;
    while (!over_ && (at_body_ ? read_body() : read_head())) {
    }
    return !over_;
  }
  bool operator==(const Reader& other) const {
    const auto same = [](const Exchange& a, const Exchange& b) {
      return std::tie(a.head_bytes, a.body_bytes, a.body) == std::tie(b.head_bytes, b.body_bytes, b.body) &&
             outline(a.head) == outline(b.head);
    };
    return refusal_ == other.refusal_ && std::ranges::equal(whole_, other.whole_, same);
  }
  [[nodiscard]] const std::vector<Exchange>& whole() const { return whole_; }
  // To be called at the end of the stream.
  void check_what_was_not_taken() const {
    if (!at_body_ || now_.head.framing != BodyFraming::kChunked) return;
    demand(!read_chunked(now_.body_bytes + buffer_), "a chunked body that the grammar has is taken");
  }

 private:
  bool refuse_with(const HttpError& error, std::initializer_list<int> documented) {
    demand(std::ranges::count(documented, error.status) == 1, "the status of a refusal is one that http_head.h names");
    demand(!error.message.empty() && error.message.size() < 200 && is_name(error.message.substr(0, 1)) &&
               is_text(error.message), "a refusal says why in one line");
    refusal_ = {error.status, error.message};
    over_ = true;
    return false;
  }

  bool read_head() {
    const auto end = find_next_head(buffer_, scanned_);
    if (!end) {
      const bool long_line = buffer_.find('\n') >= kMaxRequestLineBytes;
      demand((end.error().status == 414) == long_line, "414 is for a long request line, and nothing else");
      demand(end.error().status != 431 || buffer_.size() > kMaxHeadBytes, "431 is for a long head");
      return refuse_with(end.error(), {400, 414, 431});
    }
    if (*end == 0) {
      demand(buffer_.size() <= kMaxHeadBytes, "no more is waited for than a head may have");
      return false;
    }
    now_.head_bytes = buffer_.substr(0, *end);
    buffer_.erase(0, *end);
    auto head = parse_head(now_.head_bytes);
    if (!head) return refuse_with(head.error(), {400, 415, 417, 431, 501, 505});
    now_.head = std::move(*head);
    if (now_.head.content_length > kBodyLimit) return refuse_with({413, "body too large"}, {413});
    return at_body_ = true;
  }

  bool read_body() {
    std::size_t used = 0;
    const ParsedHead& head = now_.head;
    if (head.framing == BodyFraming::kChunked) {
      const auto fed = chunks_.feed(buffer_, now_.body);
      demand(now_.body.size() <= kBodyLimit, "a body never exceeds its limit");
      if (!fed) return refuse_with(fed.error(), {400, 413, 431});
      used = *fed;
    } else {
      used = std::min<Bytes>(buffer_.size(), head.content_length - now_.body.size());
      now_.body.append(buffer_, 0, used);
    }
    now_.body_bytes.append(buffer_, 0, used);
    buffer_.erase(0, used);
    if (head.framing == BodyFraming::kChunked ? !chunks_.finished() : now_.body.size() < head.content_length) {
      demand(buffer_.empty(), "an unfinished body takes all that there is");
      return false;
    }
    over_ = !head.keep_alive;
    whole_.push_back(std::exchange(now_, {}));
    chunks_ = ChunkedDecoder(kBodyLimit);
    scanned_ = 0;
    at_body_ = false;
    return true;
  }

  std::string buffer_;
  std::size_t scanned_ = 0;
  bool at_body_ = false, over_ = false;
  Exchange now_;
  ChunkedDecoder chunks_{kBodyLimit};
  std::vector<Exchange> whole_;
  std::pair<int, std::string> refusal_;
};

Reader read_requests(CutStream stream) {
  Reader reader;
  feed_pieces(stream, [&](std::string_view piece) { return reader.feed(piece); });
  reader.check_what_was_not_taken();
  return reader;
}

std::vector<std::string_view> values_of(const HttpRequest& request, const char* name) {
  std::vector<std::string_view> values;
  for (const auto& [field, value] : request.headers) {
    if (::strcasecmp(field.c_str(), name) == 0) values.push_back(value);
  }
  return values;
}

void check_framing(const ParsedHead& head) {
  const auto codings = values_of(head.request, "Transfer-Encoding");
  const auto lengths = values_of(head.request, "Content-Length");
  demand(codings.size() + lengths.size() <= 1, "one field at most says where the body ends");
  demand(head.framing == (!codings.empty()  ? BodyFraming::kChunked
                          : lengths.empty() ? BodyFraming::kNone
                                            : BodyFraming::kLength), "and it is obeyed");
  if (!codings.empty()) demand(!head.http_1_0 && codings[0].size() == 7, "chunked alone, which HTTP/1.0 has not");
  if (lengths.empty()) return demand(head.content_length == 0, "no length without its field");
  demand(!lengths[0].empty() && lengths[0].find_first_not_of(kDigits) == std::string_view::npos, "a length is digits");
  std::string digits = fmt::format("{}", head.content_length);
  digits.insert(0, lengths[0].size() - digits.size(), '0');  // one above the limit came no further
  demand(digits == lengths[0], "a length is what the field says");
}

// Every byte of a head is accounted for: it is what its values say, and a reader of lines would find the same ones.
void check_head(const Exchange& exchange) {
  const HttpRequest& request = exchange.head.request;
  std::string_view rest = exchange.head_bytes;
  demand(rest.size() <= kMaxHeadBytes, "a head keeps its limit");
  demand(rest.find("\r\n\r\n") == rest.size() - 4, "a head ends at its first empty line");
  const auto start = next_line(rest);
  demand(start && start->size() <= kMaxRequestLineBytes && std::ranges::count(*start, ' ') == 2, "a request line");
  const std::string_view version = start->substr(start->rfind(' ') + 1);
  demand(start->starts_with(request.method + ' ') && is_name(request.method), "a method");
  demand(version.size() == 8 && version.starts_with("HTTP/1.") && kDigits.contains(version[7]), "a version");
  demand(exchange.head.http_1_0 == version.ends_with('0'), "HTTP/1.0 is told from later ones");

  const bool absolute = start->find(" /") == start->npos && start->find("://") != start->npos;
  demand(request.headers.size() <= kMaxHeaderFields, "at most so many fields");
  for (const auto& [name, value] : request.headers) {
    const auto line = next_line(rest);
    demand(line && is_field(*line) && line->starts_with(name + ':'), "a field is its line");
    const bool replaced = absolute && ::strcasecmp(name.c_str(), "Host") == 0;
    if (!replaced) demand(without_blanks(line->substr(name.size() + 1)) == value, "a value is its line's");
  }
  demand(rest == "\r\n", "no line is left over");
  const std::size_t hosts = values_of(request, "Host").size();
  demand(hosts == 1 || (hosts == 0 && exchange.head.http_1_0), "there is one Host");
  check_framing(exchange.head);
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) out += fmt::format("%{:02X}", c);
  return out;
}

// Path and parameters mean themselves: escaped, they come back.
void check_target(const ParsedHead& head) {
  std::string text = fmt::format("{} {}?", head.request.method, escaped(head.request.path));
  for (const auto& [name, value] : head.request.params) text += escaped(name) + '=' + escaped(value) + '&';
  text += head.http_1_0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
  for (const auto& [name, value] : head.request.headers) text += fmt::format("{}:{}\r\n", name, value);
  const auto again = parse_head(text + "\r\n");
  demand(again && outline(*again) == outline(head), "a head that is written anew says the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const CutStream stream = read_cut_stream(data, size);
  const Reader reader = read_requests(stream);
  demand(reader == read_requests({{}, stream.bytes}), "the pieces do not matter");
  for (const Exchange& exchange : reader.whole()) {
    check_head(exchange);
    check_target(exchange.head);
    if (exchange.head.framing == BodyFraming::kChunked) {
      const Chunked taken{exchange.body, exchange.body_bytes.size()};
      demand(read_chunked(exchange.body_bytes) == taken, "a chunked body is what the grammar makes of it");
    } else {
      demand(exchange.body == exchange.body_bytes, "a body of known length is its bytes");
    }
  }
  return 0;
}
