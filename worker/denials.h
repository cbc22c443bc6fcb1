// Role: which system calls a job was refused: hears of each from the kernel, answers it with EPERM, keeps its name.
// Callers: sandbox.cc while a runner parks; main.cc while it is parked; pump.cc while the job runs.
// Law: no call is ever let through, and what the arguments point to is never read: that memory is the script's, and may
// change between a look and the call. Never waits. A call that nobody answers stays where it is, so whoever waits for a
// job polls fd(); once the listener is closed the kernel itself answers with ENOSYS.
// Sources: seccomp_unotify(2), seccomp(2); user notification: Linux 5.0, its end as POLLHUP: 5.9.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

class Denials {
 public:
  Denials() = default;
  explicit Denials(UniqueFd listener);

  [[nodiscard]] int fd() const { return listener_.get(); }  // readable: answer() has work; -1: nothing will come
  // Answers what is waiting, kRound calls at most, so that a storm of them holds nothing else up.
  void answer();
  // What came until now was not the script's.
  void forget() { numbers_.clear(); }
  // Sorted, each once, kMost at most.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  static constexpr int kRound = 64;
  static constexpr std::size_t kMost = 64;

  void note(int number);

  UniqueFd listener_;
  std::vector<int> numbers_;  // sorted
};

// Tries whether a filter with a listener can be had, in a process that is thrown away. Not on kernels without user
// notification, and not below a container manager that listens itself (EBUSY: one listener for a process).
Result<void> try_notifications();

}  // namespace coderunner
