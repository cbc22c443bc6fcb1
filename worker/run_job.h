// Role: one job from its Run to its Exit; the worker's half of the story, in order.
// Callers: main.cc.
#pragma once

#include <optional>
#include <string>

#include "common/channel.h"
#include "common/job.h"
#include "worker/sandbox.h"

namespace coderunner {

// A job as its frames have told it. Its files are in the sandbox's working directory already.
struct Job {
  JobSpec spec;
  std::string stdin_bytes;
  std::optional<Error> trouble;  // a file that could not be written: the job is answered, not run
  Clock::time_point arrived = Clock::now();
};

// Runs it in `sandbox`, which is used up; sends Started, output, artifacts and Exit. What goes wrong inside is told
// in the Exit; an Error means that the supervisor can not be told anything any more.
Result<void> run_job(Channel& channel, const Jail& jail, Sandbox& sandbox, Job job);

}  // namespace coderunner
