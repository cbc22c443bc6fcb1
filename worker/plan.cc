// Role: see plan.h. The whole shape of a jail is on this page.
#include "worker/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace coderunner {
namespace {

constexpr std::string_view kBootstrap =
#include "bootstrap.inc"
    ;

constexpr std::string_view kTemplate =
#include "template.inc"
    ;

constexpr std::array<std::string_view, 3> kStepNames = {"working directory", "init", "park"};

constexpr const char* kHosts = "/etc/hosts";  // the host's own where jobs are on its network

constexpr unsigned char kOwnShm[] = {
#include "own_shm.inc"
};

constexpr std::string_view kBootDirectory = "/.coderunner";

// The job's own tmpfs; nothing else in its tree is writable. The last row's place holds all of it while mounting.
const std::array<ScratchRow, 3> kScratch = {{{"work", "/work"}, {"shm", "/dev/shm"}, {"tmp", "/tmp"}}};

std::string passwd() { return fmt::format("runner:x:{}:{}:runner:/work:/bin/sh\n", kJobUid, kJobGid); }
std::string group() { return fmt::format("runner:x:{}:\n", kJobGid); }

std::vector<MountRow> root_rows(const WorkerSetup& setup,
                                const std::vector<std::pair<std::string, std::string>>& links) {
  std::vector<MountRow> rows;
  for (const std::string& path : setup.read_only_paths) {
    const auto link = std::ranges::find(links, path, &std::pair<std::string, std::string>::first);
    if (link != links.end())
      rows.push_back({MountKind::kSymlink, link->second, path, "as on the host"});
    else
      rows.push_back({MountKind::kReadOnlyBind, path, path, "what the interpreter needs to see"});
  }
  for (const char* device : {"null", "zero", "full", "random", "urandom"})
    rows.push_back({MountKind::kDeviceBind, fmt::format("/dev/{}", device), fmt::format("/dev/{}", device),
                    "harmless and expected"});
  const std::array<MountRow, 11> own = {{
      {MountKind::kSymlink, "/proc/self/fd", "/dev/fd", "subprocess, shells"},
      {MountKind::kSymlink, "/proc/self/fd/0", "/dev/stdin", "scripts that open it"},
      {MountKind::kSymlink, "/proc/self/fd/1", "/dev/stdout", "scripts that open it"},
      {MountKind::kSymlink, "/proc/self/fd/2", "/dev/stderr", "scripts that open it"},
      {MountKind::kFile, passwd(), "/etc/passwd", "getpass, pwd, expanduser: one user, no account of the host's"},
      {MountKind::kFile, group(), "/etc/group", "the same for grp"},
      {MountKind::kFile, std::string(bootstrap_source()), fmt::format("{}/sitecustomize.py", kBootDirectory),
       "parks the interpreter until a job comes"},
      {MountKind::kFile, std::string(kTemplate), fmt::format("{}/template.py", kBootDirectory),
       "what a template does besides"},
      {MountKind::kHostProc, "/proc", "/proc", "the job mounts its own over it"},
      {MountKind::kDirectory, "", "/work", "working directory"},
      {MountKind::kDirectory, "", "/tmp", "scratch"},
  }};
  rows.insert(rows.end(), own.begin(), own.end());
  if (!setup.bootstrap_name.empty())
    rows.push_back({MountKind::kFile, setup.bootstrap_code,
                    fmt::format("{}/{}/{}", kBootDirectory, kCompiled, setup.bootstrap_name),
                    "bootstrap.py, compiled"});
  rows.push_back({MountKind::kDirectory, "", "/dev/shm", "shared memory and semaphores of multiprocessing"});
  if (std::ranges::find(setup.read_only_paths, kHosts) == setup.read_only_paths.end())
    rows.push_back({MountKind::kFile, "127.0.0.1 localhost\n::1 localhost\n", kHosts, "localhost has a name"});
  return rows;
}

// Where numeric libraries look for how many threads they should have: a thread for each core of the machine, in each
// worker, would only fight over them. Read when such a library is loaded, which may be in a template.
constexpr std::array kThreadCounts = {"MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS",
                                      "OPENBLAS_NUM_THREADS"};

// The contract's variables; bootstrap.py takes away what is added to them.
std::vector<std::string> variables(const std::string& home, const std::string& temp_directory, std::uint32_t cores) {
  std::vector<std::string> all = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "LANG=C.UTF-8",
                                  "PYTHONIOENCODING=utf-8", "PYTHONUNBUFFERED=1", "TMPDIR=" + temp_directory};
  for (const char* name : kThreadCounts) all.push_back(fmt::format("{}={}", name, cores));
  return all;
}

std::string park_variable(const WorkerSetup& setup, const std::string& boot_directory, std::string_view stage) {
  return fmt::format("CODERUNNER_PARK={}:{}:{}:{}:{}", kGoFd, report_fd(setup.limits), stage, boot_directory,
                     setup.packages);
}

}  // namespace

std::string JobFolder::path() const { return fmt::format("{}/worker-{}/{}", temp_dir, index, name); }

std::string_view step_name(SetupStep step) { return kStepNames.at(static_cast<std::size_t>(step)); }

std::string_view bootstrap_source() { return kBootstrap; }
std::string_view template_source() { return kTemplate; }

std::string_view own_shm_library() { return {reinterpret_cast<const char*>(kOwnShm), sizeof kOwnShm}; }

std::string own_shm_path(const JailPlan& plan) { return plan.boot_directory + "/own_shm.so"; }

// In front: the last one is bootstrap.py's.
void preload_own_shm(JailPlan& plan) {
  plan.environment.insert(plan.environment.begin(), "LD_PRELOAD=" + own_shm_path(plan));
}

int report_fd(const Limits& limits) { return static_cast<int>(limits.descriptors) - 1; }

JailPlan make_plan(const WorkerSetup& setup, SandboxLevel level, std::string_view folder,
                   const std::vector<std::pair<std::string, std::string>>& links) {
  JailPlan plan;
  plan.level = level;
  plan.network = setup.network;
  plan.scratch_bytes = setup.limits.scratch_bytes;
  plan.scratch_inodes = setup.limits.scratch_inodes;
  std::string temp_directory;
  if (level == SandboxLevel::kFull) {
    plan.root = root_rows(setup, links);
    plan.scratch.assign(kScratch.begin(), kScratch.end());
    plan.boot_directory = kBootDirectory;
    plan.working_directory = "/work";
    temp_directory = "/tmp";
  } else {
    plan.folder = {setup.temp_dir, setup.index, std::string(folder)};
    plan.working_directory = plan.folder.path() + "/work";
    temp_directory = plan.folder.path() + "/tmp";
    plan.boot_directory = setup.temp_dir + fmt::format("/boot-{}", setup.index);
    plan.scratch = {{"work", plan.working_directory}, {"tmp", temp_directory}};
    plan.read_only_paths = setup.read_only_paths;
    plan.read_only_paths.push_back(plan.boot_directory);
    plan.read_write_paths = {plan.working_directory, temp_directory};
  }
  plan.argv = {setup.python, "-X", "utf8", std::string(kScriptName)};
  plan.environment = variables(plan.working_directory, temp_directory, setup.cores);
  plan.environment.push_back("PYTHONPATH=" + plan.boot_directory);
  plan.environment.push_back(park_variable(setup, plan.boot_directory, "fresh"));
  return plan;
}

std::vector<std::string> template_environment(const JailPlan& plan, const WorkerSetup& setup, bool packages) {
  std::vector<std::string> all = plan.environment;
  all.back() = park_variable(setup, plan.boot_directory, "template");
  all.push_back(fmt::format("CODERUNNER_PRELOAD={}", fmt::join(setup.preload, ",")));
  if (packages) all.push_back(fmt::format("CODERUNNER_PACKAGES={}", fmt::join(setup.preload_packages, ",")));
  all.push_back(fmt::format("CODERUNNER_WALLS={}", plan.level == SandboxLevel::kFull ? "namespaces" : "landlock"));
  return all;
}

std::string describe_plan(const JailPlan& plan) {
  constexpr std::array<std::string_view, 6> kKinds = {"read-only", "device", "symlink", "file", "directory",
                                                      "host proc"};
  std::string out = fmt::format("level: {}\ncommand: {}\nworking directory: {}\nscratch: {} bytes, {} inodes\n",
                                plan.level == SandboxLevel::kFull ? "full" : "reduced", fmt::join(plan.argv, " "),
                                plan.working_directory, plan.scratch_bytes, plan.scratch_inodes);
  for (const std::string& variable : plan.environment) out += fmt::format("environment: {}\n", variable);
  for (const MountRow& row : plan.root)
    out += fmt::format("{:<10} {:<40} {}\n", kKinds.at(static_cast<std::size_t>(row.kind)), row.target, row.why);
  for (const ScratchRow& row : plan.scratch)
    out += fmt::format("{:<10} {:<40} writable, gone after the job\n", "scratch", row.target);
  return out;
}

}  // namespace coderunner
