// Role: who runs, who waits, what is kept; see invocations.h.
#include "supervisor/invocations.h"

#include <optional>

namespace coderunner {
namespace {

bool took_place(const HttpReply& reply) { return reply.status == 200 || reply.status == 500; }

Bytes size_of(const std::string& id, const HttpReply& reply) {
  Bytes bytes = id.size() + reply.body.size() + reply.content_type.size();
  for (const auto& [name, value] : reply.headers) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

// The right to run an id, which ends with the scope, also by an exception.
class Invocations::Turn {
 public:
  Turn(Invocations& owner, const std::string& id) : owner_(owner), id_(id) {}
  Turn(const Turn&) = delete;
  ~Turn() {
    const std::lock_guard lock(owner_.mutex_);
    if (reply_) {
      const Bytes bytes = size_of(id_, *reply_);
      owner_.entries_[id_] = {.running = false, .reply = std::move(*reply_)};
      owner_.ended_.push_back({id_, Clock::now(), bytes});
      owner_.bytes_ += bytes;
      owner_.forget_old();
    } else {
      owner_.entries_.erase(id_);
    }
    owner_.ended_one_.notify_all();
  }
  void keep(HttpReply reply) { reply_ = std::move(reply); }

 private:
  Invocations& owner_;
  const std::string& id_;
  std::optional<HttpReply> reply_;
};

HttpReply Invocations::answer_once(const std::string& id, const std::function<HttpReply()>& run) {
  {
    std::unique_lock lock(mutex_);
    forget_old();
    for (auto entry = entries_.find(id); entry != entries_.end(); entry = entries_.find(id)) {
      if (!entry->second.running) return entry->second.reply;
      ended_one_.wait(lock);
    }
    entries_.emplace(id, Entry{});
  }
  Turn turn(*this, id);
  HttpReply reply = run();
  if (took_place(reply)) turn.keep(reply);
  return reply;
}

Invocations::Held Invocations::held() {
  const std::lock_guard lock(mutex_);
  forget_old();
  return {ended_.size(), bytes_};
}

void Invocations::forget_old() {
  const auto now = Clock::now();
  while (!ended_.empty() && (now - ended_.front().at >= bounds_.keep || ended_.size() > bounds_.count ||
                             bytes_ > bounds_.bytes)) {
    bytes_ -= ended_.front().bytes;
    entries_.erase(ended_.front().id);
    ended_.pop_front();
  }
}

}  // namespace coderunner
