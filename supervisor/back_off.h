// Role: when the next worker may be born, after births that failed.
// Callers: pool.cc.
// Law: knows no clock: the caller says what time it is.
#pragma once

#include <algorithm>

#include "common/units.h"

namespace coderunner {

class BackOff {
 public:
  BackOff(Millis first, Millis longest) : first_(first), longest_(longest), next_(first) {}

  // A worker died before it was ready: each such death in a row doubles the pause.
  void failed(Clock::time_point now) {
    ++failures_;
    allowed_ = now + next_;
    next_ = std::min(next_ * 2, longest_);
  }
  // A worker is ready: the trouble is over.
  void succeeded() { *this = BackOff(first_, longest_); }

  [[nodiscard]] unsigned failures() const { return failures_; }         // in a row
  [[nodiscard]] Clock::time_point allowed() const { return allowed_; }  // no birth before it

 private:
  Millis first_, longest_, next_;
  unsigned failures_ = 0;
  Clock::time_point allowed_{};  // long past; not min(), whose distance to now has no number
};

}  // namespace coderunner
