// Role: starts one worker and tells it what it is: obeys, decides nothing.
// Callers: pool.cc (start_worker), launch.cc (find_worker).
// Law: between vfork and exec only async-signal-safe calls, all of them in birth.cc.
#pragma once

#include <string>

#include "common/channel.h"
#include "common/child.h"
#include "common/job.h"
#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

// The executable, held open: every worker of this service is the one that was found at its start, whatever is
// installed over it later, and whether or not the service's user may walk to its folder.
struct WorkerProgram {
  std::string path;  // for messages
  UniqueFd file;     // O_PATH
};

Result<WorkerProgram> open_worker(const std::string& path);
// coderunner-worker beside the running executable, or in the build tree's ../worker/.
Result<WorkerProgram> find_worker();

struct Newborn {
  Child child;
  Channel channel;  // Setup has been sent
};

// The worker gets: argv {"coderunner-worker"}, an empty environment, "/" as its directory, a session of its own, the
// default signal dispositions and an empty mask, /dev/null as 0 and 1, this process's 2, its socket as 3, nothing else.
// Fault::kSandbox when it can not be executed.
Result<Newborn> start_worker(const WorkerProgram& program, const WorkerSetup& setup);

}  // namespace coderunner
