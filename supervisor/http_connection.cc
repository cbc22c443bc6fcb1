// Role: the keep-alive loop of one connection; see http_connection.h.
#include "supervisor/http_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>

#include <fmt/format.h>

#include "common/sys.h"
#include "supervisor/complain.h"
#include "supervisor/http_stream.h"

namespace coderunner {
namespace {

constexpr std::size_t kReadBytes = 64 * kKiB;
// A thousand connections wait for their next request: each with little.
constexpr std::size_t kReadHeadBytes = 4 * kKiB;
// Up to here head and body leave in one write; above it a second write costs nothing beside the copy.
constexpr std::size_t kCoalescedBytes = 64 * kKiB;

std::string read_peer_ip(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text.data(), text.size());
  } else if (address.ss_family == AF_INET6) {
    const in6_addr& ip = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&ip)) ::inet_ntop(AF_INET, &ip.s6_addr[12], text.data(), text.size());
    else ::inet_ntop(AF_INET6, &ip, text.data(), text.size());
  }
  return text.data();
}

std::string make_request_id() {
  std::array<std::uint64_t, 2> random{};
  // Up to 256 bytes come whole once the kernel's generator is seeded (getrandom(2)); an id of zeros harms nobody.
  (void)sys::retry("getrandom", [&] { return ::getrandom(random.data(), sizeof random, 0); });
  return fmt::format("{:016x}{:016x}", random[0], random[1]);
}

bool is_request_id(std::string_view text) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !text.empty() && text.size() <= 64 && text.find_first_not_of(kAllowed) == text.npos;
}

// One that was sent twice is nobody's: a proxy that adds its own to the client's must not be taken for the client.
std::string choose_request_id(const HttpRequest& request, const std::vector<std::string>& id_headers) {
  for (const std::string& name : id_headers) {
    const auto given = request.header(name);
    const auto count = std::ranges::count_if(
        request.headers, [&](const auto& header) { return ::strcasecmp(header.first.c_str(), name.c_str()) == 0; });
    if (count == 1 && is_request_id(*given)) return std::string(*given);
  }
  return make_request_id();
}

HttpReply make_reply(const HttpError& error) { return make_error_reply(error.status, error.message); }

HttpError slow_client(std::string_view what, Millis allowed) {
  return {408, fmt::format("{} did not arrive in time ({} s)", what,
                           std::chrono::duration_cast<std::chrono::duration<double>>(allowed).count())};
}

}  // namespace

HttpConnection::HttpConnection(UniqueFd socket, const HttpConfig& config, HttpHandler& handler, IdleConnections& idle,
                               int stop_fd)
    : socket_(std::move(socket)), config_(config), handler_(handler), idle_(idle), stop_fd_(stop_fd) {
  peer_ip_ = read_peer_ip(socket_.get());
  // Answers leave at once instead of waiting for the client's delayed acknowledgement (tcp(7), TCP_NODELAY).
  const int on = 1;
  (void)::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!sys::set_nonblocking(socket_.get(), true)) socket_.reset();
}

void HttpConnection::serve() {
  while (socket_.valid() && serve_one()) served_ = true;
}

void HttpConnection::turn_away(TurnAway how) {
  HttpReply reply = make_error_reply(503, fmt::format("too many connections: at most {}", config_.connections));
  reply.headers.emplace_back("Retry-After", "1");
  const HttpRequest request = unparsed_request();
  handler_.on_refused(request, reply);
  if (!socket_.valid() || !send_reply(request, reply, AfterReply::kClose)) return;
  if (how == TurnAway::kLinger) close_after_lingering();
}

bool HttpConnection::serve_one() {
  std::size_t head_bytes = 0;
  const auto arrival = read_head(head_bytes);
  if (!arrival) return refuse_and_close(unparsed_request(), make_reply(arrival.error()));
  if (*arrival != Arrival::kBytes) return false;

  auto head = parse_head(std::string_view(buffer_).substr(0, head_bytes));
  if (!head) return refuse_and_close(unparsed_request(), make_reply(head.error()));
  buffer_.erase(0, head_bytes);
  head->request.request_id = choose_request_id(head->request, config_.id_headers);
  head->request.peer_ip = peer_ip_;
  head->request.client_fd = socket_.get();
  head->request.arrived = Clock::now();
  return answer(std::move(*head));
}

bool HttpConnection::answer(ParsedHead head) {
  HttpRequest& request = head.request;
  if (const auto refusal = handler_.refuse(request)) {
    if (head.framing != BodyFraming::kNone) return refuse_and_close(request, *refusal);
    handler_.on_refused(request, *refusal);
    const bool keep = head.keep_alive && !stopping();
    return send_reply(request, *refusal, keep ? AfterReply::kKeepAlive : AfterReply::kClose) && keep;
  }
  if (head.framing == BodyFraming::kNone && request.method == "POST") {
    return refuse_and_close(request, make_error_reply(411, "Content-Length is required"));
  }
  if (head.content_length > config_.body_bytes) {
    return refuse_and_close(
        request, make_error_reply(413, fmt::format("body too large: at most {} bytes", config_.body_bytes)));
  }
  // Without a body a request holds nothing: health can be asked for however full it is.
  const bool brings = head.framing != BodyFraming::kNone;
  if (brings && config_.held != nullptr && !config_.held->has_room(head.content_length)) {
    return refuse_and_close(request, handler_.refuse_busy(request));
  }
  HeldBytes::Share held(config_.held);
  std::string body;
  const auto arrival = read_body(head, held, body);
  if (!arrival) return refuse_and_close(request, make_reply(arrival.error()));
  if (*arrival == Arrival::kNoRoom) {
    std::string().swap(body);
    held.shrink_to(0);
    return refuse_and_close(request, handler_.refuse_busy(request));
  }
  if (*arrival != Arrival::kBytes) return false;
  ConnectionStream stream(socket_.get(), request.request_id,
                          head.http_1_0 ? StreamFraming::kUntilClose : StreamFraming::kChunked,
                          head.keep_alive && !stopping() ? AfterReply::kKeepAlive : AfterReply::kClose);
  const HttpRequest outline = request;  // for the answer, once the request has been given away
  request.body = std::move(body);
  request.held = &held;
  request.stream = &stream;
  HttpReply reply;
  try {
    reply = handler_.answer(std::move(request));
  } catch (const std::exception& exception) {  // a bug, or a lack of memory
    complain(fmt::format("request {}: {}", outline.request_id, exception.what()));
    reply = make_error_reply(500, "internal error");
    handler_.on_refused(outline, reply);
  }
  // What it counted for went with the request. A large answer counts until the client has it: who does not read takes
  // the room from the next requests, not from the machine. Small ones do not, so that a request that is alone but for
  // questions after health is alone.
  held.shrink_to(0);
  if (reply.body.size() > kCoalescedBytes) held.take(reply.body.size());
  const bool keep = head.keep_alive && !stopping();
  if (stream.begun()) return stream.ended() && send_all(stream.unsent()) && keep && !head.http_1_0;
  return send_reply(outline, reply, keep ? AfterReply::kKeepAlive : AfterReply::kClose) && keep;
}

HttpConnection::Arrival HttpConnection::read_more(Deadline deadline, Piece piece) {
  const std::size_t most = piece == Piece::kHead ? kReadHeadBytes : kReadBytes;
  const std::size_t had = buffer_.size();
  for (;;) {
    std::array<pollfd, 2> entries{{{socket_.get(), POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    const auto ready = sys::poll(entries, deadline);
    if (!ready) return Arrival::kClosed;
    if (entries[1].revents != 0) return Arrival::kStopping;
    if (*ready == 0) return Arrival::kTimedOut;
    buffer_.resize(had + most);
    const auto count = sys::read_some(socket_.get(), {buffer_.data() + had, most});
    buffer_.resize(had + (count && *count ? **count : 0));
    if (!count) return Arrival::kClosed;  // a reset
    if (*count) return **count == 0 ? Arrival::kClosed : Arrival::kBytes;
  }
}

HttpResult<HttpConnection::Arrival> HttpConnection::read_head(std::size_t& head_bytes) {
  // Some clients send an empty line behind a request: it begins no other one (RFC 9112 section 2.2).
  const auto drop_empty_lines = [&] {
    while (served_ && buffer_.starts_with("\r\n")) buffer_.erase(0, 2);
  };
  for (drop_empty_lines(); buffer_.empty(); drop_empty_lines()) {
    // Whoever is silent between requests is left without an answer: there is no request to answer.
    std::string().swap(buffer_);
    IdleConnections::Stay stay(idle_, socket_.get());
    const Arrival first = read_more(Deadline::in(config_.times.idle), Piece::kHead);
    if (first != Arrival::kBytes) return first == Arrival::kTimedOut ? Arrival::kClosed : first;
    if (!stay.leave()) return Arrival::kClosed;  // its place was needed
  }
  const Deadline deadline = Deadline::in(config_.times.head);
  std::size_t scanned = 0;
  for (;;) {
    head_bytes = TRY(find_next_head(buffer_, scanned));
    if (head_bytes > 0) return Arrival::kBytes;
    const Arrival more = read_more(deadline, Piece::kHead);
    if (more == Arrival::kTimedOut) return std::unexpected(slow_client("the request's header", config_.times.head));
    if (more != Arrival::kBytes) return more;
  }
}

HttpResult<HttpConnection::Arrival> HttpConnection::read_body(const ParsedHead& head, HeldBytes::Share& held,
                                                              std::string& body) {
  if (head.framing == BodyFraming::kNone) return Arrival::kBytes;
  // A client that has begun to send does not wait for the permission (RFC 9110 section 10.1.1).
  if (head.expects_continue && buffer_.empty() && !send_all("HTTP/1.1 100 Continue\r\n\r\n")) return Arrival::kClosed;

  body.reserve(head.content_length);  // address space: memory comes with the bytes
  ChunkedDecoder chunks(config_.body_bytes);
  const auto start = Clock::now();
  for (Bytes moved = 0;;) {
    std::size_t used = 0;
    if (head.framing == BodyFraming::kChunked) {
      used = TRY(chunks.feed(buffer_, body));
    } else {
      used = std::min<Bytes>(buffer_.size(), head.content_length - body.size());
      body.append(buffer_, 0, used);
    }
    moved += used;
    buffer_.erase(0, used);
    if (!held.grow_to(body.size())) return Arrival::kNoRoom;
    if (head.framing == BodyFraming::kChunked ? chunks.finished() : body.size() == head.content_length) {
      return Arrival::kBytes;
    }
    const Arrival more = read_more(progress_deadline(config_.times.body, start, moved), Piece::kBody);
    if (more == Arrival::kTimedOut) return std::unexpected(slow_client("the body", config_.times.body));
    if (more != Arrival::kBytes) return more;
  }
}

Deadline HttpConnection::progress_deadline(Millis base, Clock::time_point start, Bytes moved) const {
  const Millis earned(moved * 1000 / config_.times.bytes_per_second);
  return Deadline::in(std::min(base, base + earned - std::chrono::duration_cast<Millis>(since(start))));
}

bool HttpConnection::send_reply(const HttpRequest& request, const HttpReply& reply, AfterReply after) {
  const std::string length = fmt::format("Content-Length: {}\r\n", reply.body.size());
  std::string out = format_reply_head(request.request_id, reply, length, after);
  if (request.method == "HEAD") return send_all(out);
  if (reply.body.size() > kCoalescedBytes) return send_all(out) && send_all(reply.body);
  return send_all(out += reply.body);
}

bool HttpConnection::send_all(std::string_view bytes) {
  const auto start = Clock::now();
  Deadline limit = Deadline::never();  // when the server stops nobody may hold it up by reading slowly
  bool stopping = false;
  for (std::size_t sent = 0; sent < bytes.size();) {
    if (limit.passed()) return false;
    const auto count = sys::write_some(socket_.get(), bytes.substr(sent));
    if (!count) return false;
    if (*count) {
      sent += **count;
      continue;
    }
    std::array<pollfd, 2> entries{{{socket_.get(), POLLOUT, 0}, {stopping ? -1 : stop_fd_, POLLIN, 0}}};
    const auto ready = sys::poll(entries, progress_deadline(config_.times.write, start, sent).earlier(limit));
    if (!ready || *ready == 0) return false;
    if (entries[1].revents != 0) {
      stopping = true;
      limit = Deadline::in(config_.times.stop);
    }
  }
  return true;
}

bool HttpConnection::refuse_and_close(const HttpRequest& request, const HttpReply& reply) {
  handler_.on_refused(request, reply);
  if (send_reply(request, reply, AfterReply::kClose)) close_after_lingering();
  return false;
}

void HttpConnection::close_after_lingering() {
  (void)::shutdown(socket_.get(), SHUT_WR);
  const Deadline deadline = Deadline::in(config_.times.linger);
  // Many clients read no answer before they have sent their whole body, so up to twice the largest one is let pass.
  for (Bytes dropped = 0; dropped < 2 * config_.body_bytes; dropped += buffer_.size()) {
    buffer_.clear();
    if (read_more(deadline, Piece::kBody) != Arrival::kBytes) break;
  }
}

bool HttpConnection::stopping() const {
  pollfd entry{stop_fd_, POLLIN, 0};
  const auto ready = sys::poll({&entry, 1}, Deadline::in(Millis(0)));
  return !ready || *ready > 0;
}

HttpRequest HttpConnection::unparsed_request() const {
  HttpRequest request;
  request.request_id = make_request_id();
  request.peer_ip = peer_ip_;
  request.arrived = Clock::now();
  return request;
}

}  // namespace coderunner
