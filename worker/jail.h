// Role: what all sandboxes of one worker share: level, plan, filter, limits, cgroup; and the worker's own confinement.
// Callers: main.cc, once at its start.
// Law: the level is decided here and nowhere else, by trying. Nothing weakens silently: every layer that is missing is
// in the report with its reason.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/job.h"
#include "common/result.h"
#include "worker/cgroup.h"
#include "worker/landlock.h"
#include "worker/pin_ring.h"
#include "worker/plan.h"
#include "worker/rlimits.h"
#include "worker/seccomp_filter.h"

namespace coderunner {

// What a template has imported.
enum class TemplateKind : std::uint8_t {
  kStandard,  // WorkerSetup::preload
  kPackages,  // preload_packages besides
};

struct Jail {
  WorkerSetup setup;
  JailPlan plan;
  RlimitPlan rlimits;
  Filter filter;  // the scripts'
  unsigned landlock_abi = 0;
  bool own_shm = false;  // reduced level: the library of that name can be loaded
  std::optional<JobCgroup> cgroup;
  std::array<PinRing, 2> pin_rings;  // for the template of each kind
  std::vector<LayerState> layers;

  // Whether a runner may be forked from a template. Without namespaces a template is as free as the worker, so no job
  // may be able to write what it reads, by truncating it neither.
  [[nodiscard]] bool can_be_warm() const { return full() || landlock_abi >= kTruncationAbi; }
  [[nodiscard]] bool full() const { return plan.level == SandboxLevel::kFull; }
  [[nodiscard]] const PinRing& pins(TemplateKind kind) const { return pin_rings.at(static_cast<std::size_t>(kind)); }
  [[nodiscard]] bool cgroup_counts_memory() const { return cgroup && cgroup->accounts_memory(); }
};

// Tries the full level in a process of its own, then moves this process into it, or settles for the reduced level
// where the setup allows that. Fault::kSandbox when the level asked for is not to be had.
Result<Jail> build_jail(WorkerSetup setup);

// The plan of a template and of its runners. `folder`: reduced level only.
JailPlan template_plan(const Jail& jail, std::string_view folder);

// Reduced level: the permissions of bootstrap.py and what is beside it as the next interpreter needs them, for the same
// reason as open_temp_dir's.
Result<void> reclaim_bootstrap(const Jail& jail);

}  // namespace coderunner
