// Role: from what happened to what the contract calls it: one table's worth of rules, pure.
// Callers: run_job.cc.
#pragma once

#include <optional>

#include "common/job.h"
#include "worker/pump.h"

namespace coderunner {

struct Evidence {
  RunOutcome outcome;
  bool oom_killed = false;      // the kernel ended a process of the job for want of memory
  bool address_wall = false;    // RLIMIT_AS stands in for a memory cgroup: then a MemoryError is the limit's
  // Whether the cgroup has refused the job a process or thread; nullopt: no cgroup counts them.
  std::optional<bool> fork_refused{};
};

// Fills exit_code, verdict, signal, limit and reason; `report.exception` must have been filled before.
void pass_verdict(const Evidence& evidence, ExitReport& report);

}  // namespace coderunner
