// Role: the last steps before a job's interpreter runs: from a fresh child of init to execve(2), in order.
// Callers: init.cc. Used by no other process.
// Law: whatever fails is told through the status pipe and ends the child; a step that fails never weakens the rest.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "worker/plan.h"
#include "worker/rlimits.h"
#include "worker/seccomp_filter.h"

namespace coderunner {

// What the runner is given; the descriptors are borrowed from init.
struct RunnerKit {
  const JailPlan* plan = nullptr;
  const RlimitPlan* rlimits = nullptr;
  const Filter* filter = nullptr;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1;
  int go_fd = -1;      // read end: the job's arguments
  int report_fd = -1;  // write end: "parked", "exception"
  int report_number = 1023;
  int handover_fd = -1;  // a socket: the filter's listener goes to the worker
  unsigned landlock_abi = 0;  // reduced level; 0: the kernel has none
};

// On this signal a thread of the interpreter writes stacks to the report pipe (stack_collector.h, bootstrap.py): by the
// value that comes with it, its own, or those of all threads, of which faulthandler shows the newest hundred.
inline constexpr int kStackSignal = 32;
enum class StackValue : int { kAll = 64, kOwn = 63 };

// What execve(2) wants, made ready beforehand: behind the limit of address space nothing should be allocated any more.
class Program {
 public:
  // Borrows both.
  Program(const std::vector<std::string>& argv, const std::vector<std::string>& environment);
  void exec() const;  // returns only when it fails

 private:
  std::vector<char*> argv_, environment_;
};

// Becomes the parked interpreter; returns only with what went wrong.
Error become_runner(const RunnerKit& kit);

// What bootstrap.py reads from kGoFd: each field ended by a NUL. No field may hold one (checked with the request).
std::string encode_runner_message(const JobSpec& job);

}  // namespace coderunner
