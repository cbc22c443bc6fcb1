// Role: a warm template: an interpreter that has imported what jobs will want, and forks a parked runner in
// milliseconds where starting one anew takes tens of them.
// Callers: warm_up.cc keeps one; sandbox.cc asks it for runners. Its Python side is template.py.
// Law: it runs no line of any job, and reads no file that a job could have written. At the full level it keeps the two
// capabilities of the worker's user namespace that setns(2) needs, and nothing else; its runners keep none. At the
// reduced level it is as free as the worker, so each runner shuts itself in, by Landlock and seccomp, before it parks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/child.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/jail.h"

namespace coderunner {

inline constexpr int kControlFd = kGoFd;  // a runner finds its go pipe at the same place
inline constexpr int kFilterFd = 4;       // the scripts' seccomp program, to the end of the file
inline constexpr int kPinsFd = 5;         // its pin ring, if it has one (pin_ring.h)

constexpr std::string_view template_name(TemplateKind kind) {
  return kind == TemplateKind::kStandard ? "warm" : "packages";
}

// What a runner is given; borrowed, the template gets copies (SCM_RIGHTS, unix(7)).
struct RunnerEnds {
  int walls = -1;  // init's pidfd, whose namespaces it enters, or a Landlock ruleset
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, go = -1, report = -1, status = -1, handover = -1;
};

class Template {
 public:
  // Starts the interpreter and returns at once; imports go on behind. At the reduced level `folder` is its own, in the
  // worker's, until it is ready; from then on each of its runners' jobs gets it anew.
  static Result<Template> start(const Jail& jail, TemplateKind kind, std::string_view folder);

  Template(Template&&) noexcept = default;
  Template& operator=(Template&&) = delete;
  ~Template();  // with it goes what it has started while it imported

  // What it has said until now: ready once the imports are done. An error when it has ended, or been stopped (SIGSTOP):
  // then it would neither fork a runner nor reap one.
  Result<bool> ready();
  [[nodiscard]] int control_fd() const { return control_.get(); }  // readable: ready() has news
  [[nodiscard]] pid_t pid() const { return process_.pid(); }
  [[nodiscard]] const JailPlan& plan() const { return plan_; }  // its runners'
  [[nodiscard]] TemplateKind kind() const { return kind_; }
  // It has found none of the packages that it is for, and has ended: so will any other.
  [[nodiscard]] bool needless() const { return needless_; }
  // Of the preload list; valid once ready.
  [[nodiscard]] const std::string& missing_modules() const { return missing_; }

  // Has it fork a runner into init's namespaces; what becomes of it shows on the status and the report pipe.
  Result<void> fork_runner(const Jail& jail, const RunnerEnds& ends);

 private:
  Template() = default;
  TemplateKind kind_ = TemplateKind::kStandard;
  JailPlan plan_;
  Child process_;
  UniqueFd control_;
  UniqueFd words_;  // its standard output and error: why it ended, warnings of what it imported
  std::string heard_;
  std::string missing_;
  bool ready_ = false, needless_ = false;
};

}  // namespace coderunner
