// Role: what a jail is, as data: paths, mounts, variables, command line. Nothing here touches the system.
// Callers: sandbox.cc applies it step by step; `coderunner-worker --print-plan` prints it.
// Law: a new kind of jail is another plan, not another branch in the code that applies it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"

namespace coderunner {

// The steps of parking a sandbox, as a failure names them; the call that failed follows.
enum class SetupStep : std::uint8_t { kWorkingDirectory, kInit, kPark };
std::string_view step_name(SetupStep step);

enum class MountKind : std::uint8_t {
  kReadOnlyBind,  // the host's tree or file, read-only, nosuid, nodev
  kDeviceBind,    // a device node of the host, nosuid
  kSymlink,       // source is the link's text
  kFile,          // a small file of our own; source is its content
  kDirectory,     // an empty folder, to mount on
  kHostProc,      // the host's /proc: the kernel lets a job mount its own only while a complete one is visible
};

struct MountRow {
  MountKind kind;
  std::string source;
  std::string target;  // absolute, inside the jail
  std::string why;
};

// Where things are, as the script sees them, and as what they are on the scratch file system of the job.
struct ScratchRow {
  std::string folder;  // on the job's tmpfs (full level), or below the job's directory (reduced level)
  std::string target;  // where the script sees it
};

// Reduced level: the folder on disk that all of a job's files are in. Each template has one of its own, which becomes
// that of its jobs once it is ready: what it imports never sees a file that a job could have written.
struct JobFolder {
  std::string temp_dir;
  std::uint32_t index = 0;  // the worker's slot
  std::string name;
  [[nodiscard]] std::string path() const;  // <temp_dir>/worker-<index>/<name>
};
inline constexpr std::string_view kFreshFolder = "fresh";

struct JailPlan {
  SandboxLevel level = SandboxLevel::kReduced;
  NetworkMode network = NetworkMode::kNone;
  std::vector<MountRow> root;        // full level: the read-only tree, in order
  std::vector<ScratchRow> scratch;   // the writable places; the first is the working directory
  Bytes scratch_bytes = 0;
  std::uint64_t scratch_inodes = 0;
  JobFolder folder;                  // reduced level
  std::string working_directory;
  std::string boot_directory;        // holds bootstrap.py as sitecustomize.py, and template.py
  std::vector<std::string> argv;     // argv[0] is the interpreter's path
  std::vector<std::string> environment;
  std::vector<std::string> read_only_paths, read_write_paths;  // reduced level: Landlock's rules
};

// The user and group that a job sees itself as; the outer ones are the service's.
inline constexpr unsigned kJobUid = 1000;
inline constexpr unsigned kJobGid = 1000;

// The descriptors of a parked runner besides 0, 1 and 2. The first is closed before the script runs, the second is
// the highest one allowed, out of the way of scripts that count.
inline constexpr int kGoFd = 3;
int report_fd(const Limits& limits);

// `folder`: reduced level only, the name of the job's.
// `links`: read_only_paths that are symbolic links, with their text (a merged /usr has /lib -> usr/lib).
JailPlan make_plan(const WorkerSetup& setup, SandboxLevel level, std::string_view folder,
                   const std::vector<std::pair<std::string, std::string>>& links);

// A template's variables instead of plan.environment: the same, but that its bootstrap.py serves forks.
// `packages`: it imports setup.preload_packages, too.
std::vector<std::string> template_environment(const JailPlan& plan, const WorkerSetup& setup, bool packages);

std::string describe_plan(const JailPlan& plan);

// The folder beside bootstrap.py where Python looks for it compiled (PEP 3147).
inline constexpr std::string_view kCompiled = "__pycache__";
// The texts of bootstrap.py and template.py.
std::string_view bootstrap_source();
std::string_view template_source();
// The library that own_shm.cc is, as a file, and the variable that puts it in front of the C library.
std::string_view own_shm_library();
std::string own_shm_path(const JailPlan& plan);
void preload_own_shm(JailPlan& plan);

}  // namespace coderunner
