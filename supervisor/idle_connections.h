// Role: the connections on which nothing is going on: where room is made for a new one when there are too many.
// Callers: http_connection.cc while it waits for a request; http.cc when a connection comes above the limit.
// Law: only a connection that owes no answer is ended, the one that has been idle longest first.
#pragma once

#include <sys/socket.h>

#include <list>
#include <mutex>

namespace coderunner {

class IdleConnections {
 public:
  // For as long as it lives the connection may be ended.
  class Stay {
   public:
    Stay(IdleConnections& all, int socket) : all_(all) {
      const std::lock_guard lock(all_.mutex_);
      self_ = all_.sockets_.insert(all_.sockets_.end(), socket);
    }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;
    ~Stay() { static_cast<void>(leave()); }
    // Ends the stay; false when the connection has been ended meanwhile.
    [[nodiscard]] bool leave() {
      const std::lock_guard lock(all_.mutex_);
      if (left_) return true;
      left_ = true;
      const bool kept = *self_ >= 0;
      all_.sockets_.erase(self_);
      return kept;
    }

   private:
    IdleConnections& all_;
    std::list<int>::iterator self_;
    bool left_ = false;
  };

  // Shuts down the one that has been idle longest; its thread wakes and closes it. False: none is idle.
  bool end_longest_idle() {
    const std::lock_guard lock(mutex_);
    for (int& socket : sockets_) {
      if (socket < 0) continue;  // ended already, its thread has not seen it yet
      (void)::shutdown(socket, SHUT_RDWR);
      socket = -1;
      return true;
    }
    return false;
  }

 private:
  std::mutex mutex_;
  std::list<int> sockets_;  // the longest idle first; -1: ended
};

}  // namespace coderunner
