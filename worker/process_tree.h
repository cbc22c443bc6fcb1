// Role: ending all processes below one where no PID namespace does it, but those that are spared.
// Callers: sandbox.cc, run_job.cc, memory_watch.cc, leak_sentinel.cc.
// Law: a pid from a listing may belong to somebody else by the time it is used: a signal goes through a pidfd whose
// process is still the one that was listed (same start time).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "common/proc_dir.h"
#include "common/result.h"
#include "common/units.h"

namespace coderunner {

// Whether a process is one of these, or in a session that one of these leads: a template's children are in its own.
bool belongs_to(const ProcessInfo& process, std::span<const pid_t> pids);

struct KillScope {
  // What belongs to these is neither killed nor reaped; others below them are killed.
  std::vector<pid_t> spared{};
  Deadline deadline = Deadline::in(Millis(10'000));
};

// Kills every process below this one, which must be a subreaper (PR_SET_CHILD_SUBREAPER), and reaps those that are or
// become its children. Returns how many it had to kill; 0 without reading /proc when there is no child at all.
// Fork bombs: each process is stopped first and loses its right to fork (RLIMIT_NPROC 0), and nothing is reaped before
// all of them stand still. So every process ever made keeps its place in the user's RLIMIT_NPROC, which a bomb, and a
// chain of processes that each fork and exit, soon fills. (Root is not bound by it: fork(2), EAGAIN.)
// Error: Fault::kInternal with the number that is left at the deadline.
Result<std::uint64_t> kill_descendants(const KillScope& scope);

}  // namespace coderunner
