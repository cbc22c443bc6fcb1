// Role: file systems: the read-only tree, made once a worker, and the writable places, made for each job.
// Callers: sandbox.cc (root tree), init.cc (a job's mounts).
// Law: full level only; mounts happen in the worker's or the job's own mount namespace and vanish with it.
// Needs fsopen(2) and its family (Linux 5.2) and mount_setattr(2) (5.12).
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/plan.h"

namespace coderunner {

// Builds the plan's tree on a tmpfs and makes it this process's root (pivot_root(2)); the host's tree is detached.
// `anchor`: any existing folder of the host's, to build on.
Result<void> enter_root_tree(const JailPlan& plan, const std::string& anchor);

// A tmpfs of the plan's size with a folder for each scratch row, attached nowhere yet: the worker works in it through
// this descriptor while the job sees it mounted.
Result<UniqueFd> make_scratch(const JailPlan& plan);

// In the job's init: the scratch folders and the job's own /proc at their places.
Result<void> mount_scratch(const JailPlan& plan, int scratch);
Result<void> mount_proc();

}  // namespace coderunner
