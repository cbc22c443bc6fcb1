// Role: see loopback_http.h.
#include "tests/support/loopback_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <stdexcept>

#include <fmt/format.h>

#include "common/sys.h"

namespace coderunner::test {

LoopbackServer::LoopbackServer(HttpHandler& handler, HttpConfig config) {
  std::signal(SIGPIPE, SIG_IGN);  // as the service does
  auto server = HttpServer::bind(std::move(config), handler);
  if (!server) throw std::runtime_error(server.error().message);
  server_ = std::move(*server);
  thread_ = std::thread([this] { server_->serve(); });
}

LoopbackServer::~LoopbackServer() {
  server_->stop();
  thread_.join();
}

LoopbackClient::LoopbackClient(int port, const std::string& host) {
  const bool v6 = host.find(':') != host.npos;
  socket_ = UniqueFd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 six{};
  sockaddr_in four{};
  six.sin6_family = AF_INET6;
  four.sin_family = AF_INET;
  six.sin6_port = four.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr);
  ::inet_pton(AF_INET, host.c_str(), &four.sin_addr);
  const int connected = v6 ? ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&six), sizeof six)
                           : ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&four), sizeof four);
  if (connected != 0) throw std::runtime_error(sys::last_error("connect").message);
}

bool LoopbackClient::send(std::string_view bytes) { return sys::write_all(socket_.get(), bytes).has_value(); }

bool LoopbackClient::fill() {
  pollfd entry{socket_.get(), POLLIN, 0};
  const auto ready = sys::poll({&entry, 1}, Deadline::in(Millis(30'000)));
  if (!ready || *ready == 0) throw std::runtime_error("nothing came within 30 s");
  std::array<char, 65536> chunk{};
  const auto count = sys::read_some(socket_.get(), chunk);
  if (!count || !*count || **count == 0) return false;
  buffer_.append(chunk.data(), **count);
  return true;
}

ReceivedReply LoopbackClient::read_reply(Body body) {
  while (buffer_.find("\r\n\r\n") == buffer_.npos) {
    if (!fill()) return {};
  }
  ReceivedReply reply;
  const auto head_end = buffer_.find("\r\n\r\n") + 4;
  std::string head = buffer_.substr(0, head_end - 2);
  buffer_.erase(0, head_end);
  reply.status = std::stoi(head.substr(9, 3));
  for (head.erase(0, head.find("\r\n") + 2); !head.empty(); head.erase(0, head.find("\r\n") + 2)) {
    const auto colon = head.find(": ");
    reply.headers[head.substr(0, colon)] = head.substr(colon + 2, head.find("\r\n") - colon - 2);
  }
  if (body == Body::kNone) return reply;
  const std::size_t length = std::stoul(reply.headers.at("Content-Length"));
  while (buffer_.size() < length) {
    if (!fill()) return {};
  }
  reply.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return reply;
}

bool LoopbackClient::reads_end() { return buffer_.empty() && !fill(); }
void LoopbackClient::half_close() { ::shutdown(socket_.get(), SHUT_WR); }

void NotingHandler::on_refused(const HttpRequest& request, const HttpReply& reply) {
  const std::lock_guard lock(mutex_);
  refusals_.push_back(fmt::format("{} {} {}: {}", request.method, request.path, reply.status, reply.error));
}

std::vector<std::string> NotingHandler::refusals() const {
  const std::lock_guard lock(mutex_);
  return refusals_;
}

}  // namespace coderunner::test
