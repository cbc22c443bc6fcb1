// Role: ends the processes that a dead worker left behind. The supervisor is a child subreaper
// (PR_SET_CHILD_SUBREAPER), so whatever survives a worker becomes its child.
// Callers: pool.cc, after each worker's death and at its end.
// Law: only on the thread that gives birth: a child that is being born would be taken for an orphan.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "common/result.h"
#include "common/units.h"

namespace coderunner {

// Every child of every thread of this process. An error when some may not have been seen.
Result<std::vector<pid_t>> list_children();

// Kills and reaps every child that is not spared, and the children that come to us through their death, until none
// is left or the deadline passes. The number of processes ended. An error, as for want of descriptors: some may be
// left, and another call goes on with them.
Result<std::size_t> end_orphans(std::span<const pid_t> spared, Deadline deadline);

}  // namespace coderunner
