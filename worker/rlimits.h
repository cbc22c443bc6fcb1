// Role: the resource limits of a job as rows, and the loop that applies them.
// Callers: jail.cc plans once a worker; runner.cc and template.cc apply.
// Law: a row never asks for more than the process already has, so applying needs no privilege.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/limits.h"
#include "common/result.h"

namespace coderunner {

struct RlimitRow {
  int resource;
  std::string_view name;
  rlim_t soft, hard;
  std::string_view why;
};
using RlimitPlan = std::vector<RlimitRow>;

enum class MemoryAccount : std::uint8_t { kCgroup, kNone };

struct RlimitFacts {
  SandboxLevel level = SandboxLevel::kFull;
  MemoryAccount memory = MemoryAccount::kCgroup;
  // Tasks that RLIMIT_NPROC counts besides the job's: the worker and its helpers where nproc_is_per_namespace(), else
  // count_user_tasks().
  std::uint64_t other_tasks = 0;
  bool pids_cgroup = false;  // counts this job alone
};

RlimitPlan plan_rlimits(const Limits& limits, const RlimitFacts& facts);
Result<void> apply_rlimits(const RlimitPlan& plan);

// True when RLIMIT_NPROC of a process in a user namespace of its own counts that namespace's tasks alone (Linux 5.14).
bool nproc_is_per_namespace(SandboxLevel level);

// Processes and threads whose real user is `user`, as /proc shows them. A few milliseconds on a busy machine.
Result<std::uint64_t> count_user_tasks(uid_t user);

}  // namespace coderunner
