// Role: what the sandbox is worth on this machine: each layer, whether it holds, why not and what would cure it; as
// JSON and as a table.
// Callers: sandbox_check.cc fills it; check_command.cc, pages.cc and serve_command.cc show it.
// Law: data and its forms. A layer is called good only when something was tried and refused, or the worker, who set it
// up, vouches for it; the report says which of the two.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"

namespace coderunner {

enum class LayerStatus : std::uint8_t {
  kHolds,    // what it has to prevent was attempted and refused
  kInForce,  // set up, by the worker's word; not tried
  kMissing,  // not to be had here: `found` is the cause
  kFails,    // set up, and yet what it has to prevent has succeeded: `found` says what
};

struct LayerReport {
  std::string name;    // "files"
  LayerStatus status = LayerStatus::kInForce;
  std::string means;   // by what it works, or the worker's reason why not
  std::string tried;   // what was attempted; empty: nothing
  std::string found;   // what came of it, or the cause
  std::string cure;    // what to do; empty when there is nothing to
};

struct SandboxReport {
  SandboxLevel level = SandboxLevel::kReduced;
  std::string kernel;             // release, "6.1.0-18-amd64"
  std::string python;             // "3.11.2"
  std::string runner;             // what was tried: "fresh", "warm", "fresh and warm"
  std::string memory_accounting;  // "cgroup v1", "cgroup v2" or "watcher"
  unsigned landlock_abi = 0;      // the kernel's; 0: none
  std::vector<LayerReport> layers;
};

std::string_view level_name(SandboxLevel level);
std::string_view status_name(LayerStatus status);

// What `--check` ends with: 0 full, 3 reduced (something is missing), 1 a layer fails.
inline constexpr int kExitUnusable = 1, kExitReduced = 3;
int check_exit_status(const SandboxReport& report);

// One line of causes and cures; empty for a full level whose layers hold.
std::string describe_weakness(const SandboxReport& report);

std::string format_sandbox_json(const SandboxReport& report);   // one object, no line break
std::string format_sandbox_table(const SandboxReport& report);  // for people, lines

}  // namespace coderunner
