// Role: Landlock: what of the file system, the network and other processes a job may reach, without any privilege.
// Callers: jail.cc asks for the version. A fresh runner builds a ruleset, adds its own /proc directory and enforces it
// (runner.cc); for a warm one sandbox.cc builds it, and template.py does the rest.
// Law: what a rule does not name is refused. A kernel that knows less enforces less: landlock_detail() says what is
// missing, and nothing here pretends otherwise.
// Sources: landlock(7), Documentation/userspace-api/landlock.rst of Linux 6.18.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

struct LandlockRules {
  std::vector<std::string> read_only;   // files, or directories with all beneath: read, list, execute
  std::vector<std::string> read_write;  // directories: everything but making device nodes; rename only within them
  NetworkMode network = NetworkMode::kNone;  // kNone: no TCP bind or connect where the kernel can refuse them
};

// Read and written by any program; each is harmless and leaves no trace.
inline constexpr std::array<std::string_view, 5> kSharedDevices = {
    "/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero",
};

// Facts about the machine which the C library and Python ask for, and which name no process. Never /proc itself: a rule
// for it would show the environment and memory of every process of the same user. /dev/shm is left out because it is
// shared with them, too: own_shm.cc has another place for what would be there.
inline constexpr std::array<std::string_view, 7> kMachineFacts = {
    "/proc/cpuinfo",                  // platform, joblib
    "/proc/filesystems",              // libselinux, mount lookups
    "/proc/loadavg",                  // os.getloadavg()
    "/proc/meminfo",                  // glibc's sysconf(_SC_AVPHYS_PAGES), psutil
    "/proc/stat",                     // glibc's get_nprocs(), psutil
    "/proc/sys/vm/overcommit_memory", // glibc's malloc, when it trims an arena
    "/sys/devices/system/cpu",        // glibc's get_nprocs(), OpenBLAS
};

inline constexpr unsigned kTruncationAbi = 3;  // the first that covers truncate(2): Linux 6.2

// The kernel's Landlock version; 0 where it has none or has it switched off.
Result<unsigned> query_landlock_abi();

// What this version cannot refuse, for LayerState::detail: "ABI 2; not covered: truncation (Linux 6.2), …".
std::string landlock_detail(unsigned abi);

// A ruleset for `abi` (>= 1). Missing read-only paths, devices and facts are left out (there is nothing to allow);
// a missing read_write directory is an error.
Result<UniqueFd> make_landlock_ruleset(const LandlockRules& rules, unsigned abi);

// Adds the caller's own /proc/<pid>, read-only: /proc/self works, other processes' directories, children's included,
// stay out of reach. Does nothing where no /proc is mounted. Once for a ruleset, by the process that enforces it.
Result<void> allow_own_proc(int ruleset);

// For the rest of the life of this process and of all it will start. Needs no_new_privs or CAP_SYS_ADMIN.
// Descriptors that are open already stay usable.
Result<void> enforce_landlock(int ruleset);

}  // namespace coderunner
