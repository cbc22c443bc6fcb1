// Role: accepts connections and runs each on a thread; see http.h.
//
// cpp-httplib 0.11.4 binds, listens, accepts and hands on the socket (process_and_close_socket is virtual for that).
// Its own reading of requests is not used, because this service has to answer for more than it offers: chunked bodies
// without a bound, several Content-Length fields, bodies inflated beyond the payload limit, multipart and form bodies
// that never reach Request::body, time-outs per read(2) instead of per request, and answers cut to a Range header.
#include "supervisor/http.h"

#include <httplib.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/eventfd.h>

#include <atomic>
#include <deque>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "common/sys.h"
#include "common/text.h"
#include "supervisor/complain.h"
#include "supervisor/http_connection.h"

namespace coderunner {
namespace {

std::optional<std::string_view> find_value(const std::vector<std::pair<std::string, std::string>>& pairs,
                                           std::string_view name, decltype(&strncasecmp) compare) {
  for (const auto& [key, value] : pairs) {
    if (key.size() == name.size() && compare(key.data(), name.data(), name.size()) == 0) return value;
  }
  return std::nullopt;
}

// Threads that grow with the connections, so that idle ones never keep a busy one waiting. A thread that finds nothing
// to do stays for the next connection; kSpareThreads of them at most.
class ConnectionThreads {
 public:
  explicit ConnectionThreads(std::size_t most) : most_(most) {}

  // Waits while there are as many as may be: descriptors that jobs need are not taken for connections.
  void run(std::function<void()> connection) {
    std::unique_lock lock(mutex_);
    ended_one_.wait(lock, [&] { return connections_ < most_; });
    ++connections_;
    join_ended();
    waiting_.push_back(std::move(connection));
    if (waiting_.size() <= idle_) {
      wake_.notify_one();
      return;
    }
    try {
      threads_.emplace_back();
      threads_.back() = std::thread([this, self = std::prev(threads_.end())] { work(self); });
    } catch (const std::system_error& error) {  // no more threads from the kernel: it waits until one is free
      threads_.pop_back();
      complain(fmt::format("http: no thread for a connection: {}", error.what()));
    }
  }

  // Waits for the connections at hand. No run() after it.
  void join_all() {
    std::unique_lock lock(mutex_);
    ending_ = true;
    wake_.notify_all();
    ended_one_.wait(lock, [&] { return threads_.empty(); });
    join_ended();
  }

 private:
  using Threads = std::list<std::thread>;
  static constexpr std::size_t kSpareThreads = 64;

  void work(Threads::iterator self) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (waiting_.empty() && (ending_ || idle_ == kSpareThreads)) break;
      if (waiting_.empty()) {
        ++idle_;
        wake_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
        --idle_;
        continue;
      }
      auto connection = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      connection();
      connection = nullptr;
      lock.lock();
      --connections_;
      ended_one_.notify_all();
    }
    ended_.splice(ended_.end(), threads_, self);
    ended_one_.notify_all();
  }

  void join_ended() {  // with the lock held: an ended thread takes it no more
    for (std::thread& thread : ended_) thread.join();
    ended_.clear();
  }

  std::mutex mutex_;
  std::condition_variable wake_, ended_one_;
  std::deque<std::function<void()>> waiting_;
  Threads threads_, ended_;
  const std::size_t most_;
  std::size_t connections_ = 0, idle_ = 0;
  bool ending_ = false;
};

// What cpp-httplib sees of them. Its shutdown() joins nobody: the threads outlive an accept loop that has to be begun
// again.
class ThreadsHandle : public httplib::TaskQueue {
 public:
  explicit ThreadsHandle(ConnectionThreads& threads) : threads_(threads) {}
  void enqueue(std::function<void()> connection) override { threads_.run(std::move(connection)); }
  void shutdown() override {}

 private:
  ConnectionThreads& threads_;
};

}  // namespace

std::optional<std::string_view> HttpRequest::header(std::string_view name) const {
  return find_value(headers, name, &strncasecmp);
}

std::optional<std::string_view> HttpRequest::param(std::string_view name) const {
  return find_value(params, name, &strncmp);
}

HttpReply make_error_reply(int status, std::string_view message) {
  HttpReply reply;
  reply.status = status;
  reply.body = fmt::format("{{\"error\":{}}}", json_quote(decode_utf8_replace(message)));
  reply.error = message;
  return reply;
}

class HttpServer::Listener : public httplib::Server {
 public:
  Listener(HttpConfig config, HttpHandler& handler) : config_(std::move(config)), handler_(handler) {
    new_task_queue = [this] { return new ThreadsHandle(threads_); };
    // The library's default is SO_REUSEPORT, under which a second server could share the port unnoticed (socket(7)).
    set_socket_options([](socket_t socket) {
      const int on = 1;
      (void)::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
  }

  // The library's destructor leaves the descriptor open that it has not accepted on.
  ~Listener() override { UniqueFd(svr_sock_).reset(); }

  Result<void> bind() {
    if (config_.port == 0) port_ = bind_to_any_port(config_.host);
    else port_ = bind_to_port(config_.host, config_.port) ? config_.port : -1;
    if (port_ <= 0) {
      Error error = sys::last_error(fmt::format("listen({}:{})", config_.host, config_.port));
      error.message += " (is the address this machine's and the port free?)";
      return std::unexpected(std::move(error));
    }
    // Again, with a backlog for bursts: the library's is 5, and further connects wait a second for their next SYN.
    TRY(sys::retry("listen", [&] { return ::listen(svr_sock_, SOMAXCONN); }));
    own_ = UniqueFd(static_cast<int>(TRY(sys::retry("fcntl(F_DUPFD_CLOEXEC)", [&] {
      return ::fcntl(svr_sock_, F_DUPFD_CLOEXEC, 0);
    }))));
    stop_event_ = UniqueFd(static_cast<int>(TRY(sys::retry("eventfd", [&] { return ::eventfd(0, EFD_CLOEXEC); }))));
    return {};
  }

  void serve() {
    while (!stopped_) {
      listen_after_bind();
      // The library closes its descriptor when accept(2) fails for any cause but EMFILE, also for passing ones (ENFILE,
      // ENOMEM). The socket lives on in own_ and gets another descriptor.
      svr_sock_ = stopped_ ? INVALID_SOCKET : ::fcntl(own_.get(), F_DUPFD_CLOEXEC, 0);
      if (!stopped_) std::this_thread::sleep_for(kAcceptPause);
    }
    threads_.join_all();
  }

  void stop() {
    stopped_ = true;
    (void)::eventfd_write(stop_event_.get(), 1);
    (void)::shutdown(own_.get(), SHUT_RDWR);  // ends accept(2) with EINVAL
  }

  [[nodiscard]] int port() const { return port_; }

 private:
  static constexpr Millis kAcceptPause{10};

  bool process_and_close_socket(socket_t socket) override {
    const std::size_t open = ++connections_;
    try {
      HttpConnection connection(UniqueFd(socket), config_, handler_, idle_, stop_event_.get());
      using TurnAway = HttpConnection::TurnAway;
      if (open <= config_.connections || idle_.end_longest_idle()) connection.serve();
      else
        connection.turn_away(open <= config_.connections + config_.lingering ? TurnAway::kLinger : TurnAway::kAtOnce);
    } catch (const std::exception& exception) {  // no memory for a request: it costs this connection only
      complain(fmt::format("http: a connection was given up: {}", exception.what()));
    }
    --connections_;
    return true;
  }

  const HttpConfig config_;
  HttpHandler& handler_;
  IdleConnections idle_;
  int port_ = -1;
  UniqueFd own_;         // the listening socket, a descriptor of our own
  UniqueFd stop_event_;  // readable from stop() on
  std::atomic<bool> stopped_ = false;
  std::atomic<std::size_t> connections_ = 0;
  ConnectionThreads threads_{config_.connections + config_.lingering + HttpConfig::kGoing};
};

HttpServer::HttpServer(std::unique_ptr<Listener> listener) : listener_(std::move(listener)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::bind(HttpConfig config, HttpHandler& handler) {
  auto listener = std::make_unique<Listener>(std::move(config), handler);
  TRY(listener->bind());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(listener)));
}

int HttpServer::port() const { return listener_->port(); }
void HttpServer::serve() { listener_->serve(); }
void HttpServer::stop() { listener_->stop(); }

}  // namespace coderunner
