// Role: tries the sandbox: a worker of the service runs sandbox_probe.py as a job, and what came of each attempt is put
// together with what the worker says of its layers.
// Callers: serve_command.cc, once a worker is there; check_command.cc.
// Law: the same workers and the same plan as for every job. What was attempted and succeeded is never explained away,
// unless a gap of the kernel's that is known by its version is the reason.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/result.h"
#include "supervisor/layer_cures.h"
#include "supervisor/pool.h"
#include "supervisor/sandbox_report.h"

namespace coderunner {

enum class Outcome : std::uint8_t { kRefused, kAllowed, kSkipped };

// One line of the probe's output.
struct Attempt {
  std::string layer, tried;
  Outcome outcome = Outcome::kSkipped;
  std::string found;
};

std::vector<Attempt> parse_attempts(std::string_view output);

// What the report is about besides layers.
struct KernelFacts {
  std::string release;
  unsigned landlock_abi = 0;
};
KernelFacts read_kernel_facts();

SandboxReport make_sandbox_report(const ReadyReport& ready, std::span<const Attempt> attempts,
                                  const KernelFacts& kernel, const MachineFacts& machine);

enum class Trial : std::uint8_t {
  kAtHand,     // one job on the runner that is at hand; tens of milliseconds
  kUseUp,      // the same, then jobs that use up memory and disk space: for small limits
  kUntilWarm,  // until it had a warm runner, where there will be one
};

struct CheckTask {
  std::string temp_dir;
  NetworkMode network = NetworkMode::kNone;
  Limits limits;  // the workers'
};

// What jobs have found out so far, on workers of one pool or of several.
struct Findings {
  ReadyReport ready;
  std::vector<Attempt> attempts;
  std::string runners;  // "fresh", "warm", "fresh and warm"
};

// Precondition: a worker has been ready. An error only when no job can be run; a probe that ends wrongly is a layer
// "probe" that fails.
Result<void> try_sandbox(Pool& pool, const CheckTask& task, Trial trial, Findings& findings);

SandboxReport conclude(const Findings& findings);

// Why no worker starts, with cause and cure where `trouble` is about namespaces.
std::string explain_trouble(const std::string& trouble, const MachineFacts& machine);

}  // namespace coderunner
