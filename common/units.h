// Role: the units that cross function borders: bytes, milliseconds, deadlines.
// Law: durations and deadlines are of the monotonic clock; a clock that jumps moves nothing.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace coderunner {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC under libstdc++
using Millis = std::chrono::milliseconds;
using Micros = std::chrono::microseconds;
using Bytes = std::uint64_t;

inline constexpr Bytes kKiB = 1024;
inline constexpr Bytes kMiB = 1024 * kKiB;
inline constexpr Bytes kGiB = 1024 * kMiB;

inline Micros since(Clock::time_point start) {
  return std::chrono::duration_cast<Micros>(Clock::now() - start);
}

// A moment after which something is over; "never" is a value of its own.
class Deadline {
 public:
  static Deadline never() { return Deadline(Clock::time_point::max()); }
  static Deadline in(Millis duration) { return Deadline(Clock::now() + duration); }

  [[nodiscard]] bool passed() const { return at_ != Clock::time_point::max() && Clock::now() >= at_; }
  // For poll(2): milliseconds left, rounded up so that a wait never ends early; -1 for never.
  [[nodiscard]] int poll_timeout() const {
    if (at_ == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<Millis>(at_ - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 24 * 3600 * 1000));
  }
  [[nodiscard]] Deadline earlier(Deadline other) const { return Deadline(std::min(at_, other.at_)); }

 private:
  explicit Deadline(Clock::time_point at) : at_(at) {}
  Clock::time_point at_;
};

}  // namespace coderunner
