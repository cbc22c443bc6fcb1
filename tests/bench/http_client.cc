// Role: a client of the service; see client.h.
// Callers: load.cc.
// Law: of an answer it keeps the head and the first bytes; megabytes of output are counted and forgotten.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "client.h"
#include "common/sys.h"

namespace coderunner::bench {
namespace {

constexpr std::string_view kEndOfHead = "\r\n\r\n", kLength = "Content-Length: ", kGoodHead = "HTTP/1.1 200 ";
constexpr std::string_view kGoodBody = R"({"exit_code":0,)";
constexpr std::size_t kKept = 300;  // bytes of the body

class HttpClient : public Client {
 public:
  HttpClient(int port, const std::string& body)
      : port_(port),
        request_(fmt::format("POST /api/run HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n"
                             "Content-Length: {}\r\n\r\n{}",
                             port, body.size(), body)) {}

  Result<void> begin() override {
    if (!socket_.valid()) TRY(connect());
    sent_ = body_bytes_ = 0;
    head_.clear();
    body_.clear();
    return {};
  }

  void wait_for(std::vector<pollfd>& entries) const override {
    entries.push_back({socket_.get(), static_cast<short>(sent_ < request_.size() ? POLLIN | POLLOUT : POLLIN), 0});
  }

  Result<bool> advance() override {
    while (sent_ < request_.size()) {
      const auto count = TRY(sys::write_some(socket_.get(), std::string_view(request_).substr(sent_)));
      if (!count) break;
      sent_ += *count;
    }
    std::array<char, 256 * 1024> buffer;
    for (;;) {
      const auto count = TRY(sys::read_some(socket_.get(), buffer));
      if (!count) return false;
      if (*count == 0) return fail(Fault::kInternal, "the service has hung up");
      TRY(take({buffer.data(), *count}));
      if (!body_.empty() && body_bytes_ == length_) return check();
    }
  }

 private:
  Result<void> connect() {
    socket_.reset(static_cast<int>(TRY(sys::retry("socket", [] {
      return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }))));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    TRY(sys::retry("connect", [&] {
      return ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    }));
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return sys::set_nonblocking(socket_.get(), true);
  }

  Result<void> take(std::string_view bytes) {
    if (body_.empty()) {
      head_ += bytes;
      const std::size_t end = head_.find(kEndOfHead);
      if (end == head_.npos) return {};
      const std::string rest = head_.substr(end + kEndOfHead.size());
      head_.resize(end);
      const std::size_t at = head_.find(kLength);
      if (at == head_.npos) return fail(Fault::kInternal, "an answer without a length: " + head_);
      length_ = std::strtoull(head_.c_str() + at + kLength.size(), nullptr, 10);
      body_ = rest.substr(0, kKept);
      body_bytes_ = rest.size();
      return {};
    }
    if (body_.size() < kKept) body_ += bytes.substr(0, kKept - body_.size());
    body_bytes_ += bytes.size();
    return {};
  }

  Result<bool> check() {
    if (head_.starts_with(kGoodHead) && body_.starts_with(kGoodBody)) return true;
    return fail(Fault::kInternal, fmt::format("{} {}", head_.substr(0, head_.find('\r')), body_));
  }

  int port_;
  std::string request_, head_, body_;  // the body's first bytes
  std::size_t sent_ = 0, length_ = 0, body_bytes_ = 0;
  UniqueFd socket_;
};

}  // namespace

Result<std::unique_ptr<Client>> make_http_client(int port, const std::string& body) {
  return std::make_unique<HttpClient>(port, body);
}

}  // namespace coderunner::bench
