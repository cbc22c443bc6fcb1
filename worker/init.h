// Role: the first process of every job: holds its sandbox open, starts the runner, reaps, dies last. Where there are no
// namespaces to hold and a template starts the runner, it only stands for the sandbox's life: its end is the job's.
// Callers: sandbox.cc, in the child of clone_init() or fork_init().
// Law: PID 1 of the job's namespaces at the full level, so that its death is everybody's; it dies with the worker.
// It answers to nobody inside: signals from its namespace are ignored by the kernel (pid_namespaces(7)).
#pragma once

#include <sys/resource.h>

#include <cstdint>

#include "worker/cgroup.h"
#include "worker/runner.h"

namespace coderunner {

struct InitKit {
  const JailPlan* plan = nullptr;
  const JobCgroup* cgroup = nullptr;  // null: none to be had
  int scratch = -1;                   // full level: the job's tmpfs, not attached yet
  int status = -1;                    // write end of the status pipe
  int life = -1;                      // read end of a pipe whose write end is the worker's alone
  bool warm = false;                  // the runner is a template's child and comes when all is built
  RunnerKit runner;
};

// What comes through the status pipe: one of these, then for kFailed the message to the end of the pipe. kBuilt is said
// only where a template is to fork the runner: then kForked and kEnded are the template's to say.
struct InitStatus {
  enum class Kind : std::int32_t { kEnded = 1, kFailed = 2, kBuilt = 3, kForked = 4 } kind;
  std::int32_t wait_status;         // of the runner, as wait4(2) gives it; kForked: its pid, as the worker sees it
  std::uint64_t cpu_us;             // processor time of the runner and of all that it waited for
  std::uint64_t peak_memory_bytes;  // of the largest of these
};

InitStatus make_status(InitStatus::Kind kind, int wait_status, const rusage& usage);

[[noreturn]] void run_init(const InitKit& kit);

}  // namespace coderunner
