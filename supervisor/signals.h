// Role: the signals that end the service, as something to wait for.
// Callers: main.cc, run_command.cc.
// Law: made before any thread, so that every thread has these signals blocked and none is interrupted by them.
#pragma once

#include <signal.h>

#include <optional>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace coderunner {

class SignalWatch {
 public:
  // Blocks SIGTERM and SIGINT; ignores SIGPIPE: a client that has gone is an error of write(2).
  static Result<SignalWatch> make();
  // The signal that has come, or nullopt when the deadline passes first, or when `other` becomes readable.
  Result<std::optional<int>> wait(Deadline deadline, int other = -1) const;
  // From now on the next one ends the process at once, with 128 + its number.
  void exit_at_next() const;

 private:
  SignalWatch(UniqueFd fd, sigset_t set) : fd_(std::move(fd)), set_(set) {}
  UniqueFd fd_;  // signalfd(2)
  sigset_t set_;
};

}  // namespace coderunner
