// Role: the owner of a child process: pid, pidfd, and the duty to reap it.
// Callers: birth.cc (workers), run_job.cc (a job's init), interpreter.cc.
// Law: a Child that is destroyed is killed and reaped first. pidfd: Linux 5.3 (pidfd_open(2)), waitid P_PIDFD: 5.4.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace coderunner {

struct ExitStatus {
  int code = 0;    // exit status when signal is 0
  int signal = 0;  // the signal that ended it, or 0
  rusage usage{};  // of the child and of all that it waited for (wait4(2))
};

class [[nodiscard]] Child {
 public:
  Child() = default;
  // Takes over a child of this process that nobody has reaped. pidfd as from clone3(2) or pidfd_open(2).
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  static Result<Child> adopt(pid_t pid);  // opens the pidfd itself
  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;
  ~Child();

  [[nodiscard]] bool running() const { return pid_ > 0; }  // not reaped yet
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  // readable (POLLIN) once the process has ended
  void kill(int signal) const;                              // does nothing once reaped
  // Reaps: the status once the process has ended, nullopt when the deadline passes first.
  Result<std::optional<ExitStatus>> wait(Deadline deadline);

 private:
  void end();
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace coderunner
