// Role: the answers of the last minutes, by invocation id, so that an invocation that comes twice runs once.
// Callers: functions_host.cc.
// Law: bounded in number and bytes: beyond either the oldest answers are forgotten first, and with them their ids.
// From many threads at once; an invocation that runs is never forgotten.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "common/units.h"
#include "supervisor/http.h"

namespace coderunner {

struct InvocationBounds {
  Millis keep{600'000};
  std::size_t count = 10'000;
  Bytes bytes = 64 * kMiB;
};

class Invocations {
 public:
  explicit Invocations(InvocationBounds bounds = {}) : bounds_(bounds) {}

  // What `run` answers, or what it has answered for this id before. Whoever comes while it runs waits for its end. Only
  // an answer of a run that took place (200, and 500 with its output) is kept: after a refusal or a job that was
  // cancelled the next one, perhaps one that waits already, runs.
  HttpReply answer_once(const std::string& id, const std::function<HttpReply()>& run);

  struct Held {
    std::size_t count = 0;
    Bytes bytes = 0;
  };
  [[nodiscard]] Held held();  // answers kept, after the old ones have been forgotten

 private:
  struct Entry {
    bool running = true;
    HttpReply reply;
  };
  struct Ended {
    std::string id;
    Clock::time_point at;
    Bytes bytes;
  };
  class Turn;
  void forget_old();  // with the lock held

  const InvocationBounds bounds_;
  std::mutex mutex_;
  std::condition_variable ended_one_;
  std::map<std::string, Entry> entries_;
  std::deque<Ended> ended_;  // oldest first
  Bytes bytes_ = 0;
};

}  // namespace coderunner
