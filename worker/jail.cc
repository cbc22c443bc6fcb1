// Role: see jail.h.
#include "worker/jail.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/child.h"
#include "common/frame.h"
#include "common/sys.h"
#include "worker/denials.h"
#include "worker/landlock.h"
#include "worker/mounts.h"
#include "worker/namespaces.h"
#include "worker/privileges.h"
#include "worker/workdir.h"

namespace coderunner {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr std::uint64_t kInitTasks = 1;  // a job's init is in its cgroup, but is not the script's

std::vector<std::pair<std::string, std::string>> find_links(const std::vector<std::string>& paths) {
  std::vector<std::pair<std::string, std::string>> links;
  for (const std::string& path : paths) {
    std::string text(PATH_MAX, '\0');
    const ssize_t length = ::readlink(path.c_str(), text.data(), text.size());
    if (length > 0) links.emplace_back(path, text.substr(0, static_cast<std::size_t>(length)));
  }
  return links;
}

Result<void> confine(const JailPlan& plan, const std::string& anchor) {
  TRY(enter_worker_namespaces(plan.network));
  return enter_root_tree(plan, anchor);
}

// Everything the full level needs, done once in a process that is thrown away: what has been unshared can not be
// taken back, and a half-confined worker would be neither level.
Result<void> try_full_level(const JailPlan& plan, const std::string& anchor) {
  Pipe told = TRY(sys::make_pipe());
  Child child = TRY(fork_init());
  if (!child.running()) {
    auto tried = confine(plan, anchor);
    if (tried) {
      auto init = clone_init();
      if (!init) {
        tried = std::unexpected(init.error());
      } else if (!init->running()) {
        const auto mounted = mount_proc();
        if (!mounted) (void)sys::write_all(told.write.get(), mounted.error().message);
        ::_exit(0);
      }
      // The init of this trial is reaped by its Child when this scope ends.
    }
    if (!tried) (void)sys::write_all(told.write.get(), tried.error().message);
    ::_exit(0);
  }
  told.write.reset();
  const std::string trouble = TRY(sys::read_all(told.read.get(), kMaxPayload));
  TRY(child.wait(Deadline::never()));
  if (!trouble.empty()) return fail(Fault::kSandbox, trouble);
  return {};
}

struct BootFile {
  std::string path;
  mode_t mode;
  std::string_view content;
};

std::string compiled_folder(const JailPlan& plan) { return fmt::format("{}/{}", plan.boot_directory, kCompiled); }

// What the reduced level has on disk, in place of a tree of its own.
std::vector<BootFile> boot_files(const JailPlan& plan, const WorkerSetup& setup) {
  std::vector<BootFile> files = {{plan.boot_directory + "/sitecustomize.py", 0400, bootstrap_source()},
                                 {plan.boot_directory + "/template.py", 0400, template_source()},
                                 {own_shm_path(plan), 0500, own_shm_library()}};
  if (!setup.bootstrap_name.empty())
    files.push_back({fmt::format("{}/{}", compiled_folder(plan), setup.bootstrap_name), 0400, setup.bootstrap_code});
  return files;
}

Result<void> write_anew(const std::string& path, mode_t mode, std::string_view content) {
  ::unlink(path.c_str());
  const UniqueFd file = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, mode));
  return sys::write_all(file.get(), content);
}

// Not where the temporary directory is mounted noexec: the loader would complain in each program that a job starts.
bool is_loadable(const std::string& path) {
  const auto file = sys::open(path, O_RDONLY);
  if (!file) return false;
  void* const place = ::mmap(nullptr, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, file->get(), 0);
  if (place == MAP_FAILED) return false;
  ::munmap(place, 1);
  return true;
}

Result<void> reclaim(const std::string& path, mode_t mode) {
  TRY(sys::retry(fmt::format("chmod(\"{}\")", path), [&] { return ::chmod(path.c_str(), mode); }));
  return {};
}

Result<void> make_own_folder(const std::string& path) {
  if (::mkdir(path.c_str(), kFolderMode) == -1 && sys::last_errno() != EEXIST)
    return std::unexpected(sys::last_error(fmt::format("mkdir(\"{}\")", path)));
  // An earlier worker of this slot has left the same, and a job of its whatever permissions it liked.
  return reclaim(path, kFolderMode);
}

Result<void> write_bootstrap(const JailPlan& plan, const WorkerSetup& setup) {
  TRY(make_own_folder(plan.boot_directory));
  TRY(make_own_folder(compiled_folder(plan)));
  for (const BootFile& file : boot_files(plan, setup)) TRY(write_anew(file.path, file.mode, file.content));
  return {};
}

MemoryAccount memory_account(const Jail& jail) {
  return jail.cgroup_counts_memory() ? MemoryAccount::kCgroup : MemoryAccount::kNone;
}

Result<RlimitFacts> rlimit_facts(const Jail& jail) {
  std::uint64_t keepers = 2;  // the worker and init
  if (jail.setup.runner == RunnerMode::kWarm) keepers += jail.setup.preload_packages.empty() ? 1 : 2;  // templates
  RlimitFacts facts{.level = jail.plan.level,
                    .memory = memory_account(jail),
                    .other_tasks = keepers,
                    .pids_cgroup = jail.cgroup && jail.cgroup->limits_processes()};
  if (!nproc_is_per_namespace(jail.plan.level)) facts.other_tasks = TRY(count_user_tasks(::getuid()));
  return facts;
}

// The worker's own confinement. Its capabilities, which reach no further than its user namespace, it keeps: it needs
// them for every job's mounts.
Result<void> harden_worker() {
  TRY(set_no_new_privileges());
  TRY(set_dumpable(Dumpable::kNo));
  TRY(install_filter(worker_filter()));
  return {};
}

std::string full_namespaces(NetworkMode network) {
  return network == NetworkMode::kNone ? "user, pid, ipc, mount, network, uts" : "user, pid, ipc, mount, uts";
}

std::vector<LayerState> describe_layers(const Jail& jail, const std::string& why_reduced, const Result<void>& named) {
  const bool full = jail.full();
  std::vector<LayerState> layers;
  layers.push_back({"namespaces", full, full ? full_namespaces(jail.plan.network) : why_reduced});
  const unsigned abi = jail.landlock_abi;
  layers.push_back({"files", full || abi > 0,
                    full      ? "own read-only tree, tmpfs of limited size"
                    : abi > 0 ? fmt::format("Landlock {}; disk use watched", landlock_detail(abi))
                              : "no Landlock: scripts can read what the service's user can; use Linux 5.13 or later"});
  const bool apart = jail.plan.network == NetworkMode::kNone;
  layers.push_back({"network", apart,
                    !apart
                    ? "off by --network=host: scripts reach what this host reaches, its loopback services included"
                    : full ? "empty network namespace"
                           : "seccomp refuses every socket but pairs of Unix ones"});
  layers.push_back({"syscalls", true,
                    fmt::format("seccomp allowlist, no_new_privs, no capabilities; refused calls {}",
                                named ? "are named" : "have no names: " + named.error().message)});
  layers.push_back({"memory", true,
                    jail.cgroup_counts_memory() ? jail.cgroup->detail()
                                                : "watched from outside, with an address-space limit behind it"});
  layers.push_back({"process_limit", true,
                    jail.cgroup && jail.cgroup->limits_processes() ? std::string(kPidsCgroup) : "RLIMIT_NPROC"});
  return layers;
}

// Who moves into a cgroup after a while in which nobody has waits for a grace period of RCU, some 10 ms
// (kernel/rcu/sync.c, by way of cgroup_threadgroup_rwsem). A child of no other use waits while the jail is built, so
// that the first init need not. Where it fails init will, and says why.
Result<Child> begin_entering(const JobCgroup& cgroup) {
  Child child = TRY(fork_init());
  if (!child.running()) ::_exit(cgroup.enter() ? 0 : 1);
  return child;
}

}  // namespace

JailPlan template_plan(const Jail& jail, std::string_view folder) {
  if (jail.full()) return jail.plan;
  JailPlan plan = make_plan(jail.setup, SandboxLevel::kReduced, folder, {});
  if (jail.own_shm) preload_own_shm(plan);
  return plan;
}

Result<void> reclaim_bootstrap(const Jail& jail) {
  TRY(reclaim(jail.plan.boot_directory, kFolderMode));
  TRY(reclaim(compiled_folder(jail.plan), kFolderMode));
  for (const BootFile& file : boot_files(jail.plan, jail.setup)) TRY(reclaim(file.path, file.mode));
  return {};
}

Result<Jail> build_jail(WorkerSetup setup) {
  const auto links = find_links(setup.read_only_paths);
  Jail jail;
  std::optional<Child> first_in;
  // The cgroup's files are opened while their paths can still be seen.
  if (!setup.cgroup_dirs.empty()) {
    jail.cgroup = TRY(JobCgroup::open(setup.cgroup_dirs));
    TRY(jail.cgroup->set_limits({setup.limits.memory_bytes, setup.limits.processes + kInitTasks}));
    first_in = TRY(begin_entering(*jail.cgroup));
  }
  if (setup.runner == RunnerMode::kWarm)
    for (PinRing& ring : jail.pin_rings) ring = PinRing::make();
  std::string why_reduced = "switched off by --sandbox=reduced";
  jail.plan = make_plan(setup, SandboxLevel::kFull, {}, links);
  if (setup.sandbox != SandboxMode::kReduced) {
    const auto tried = try_full_level(jail.plan, setup.temp_dir);
    why_reduced = tried ? "" : tried.error().message;
    if (!tried && setup.sandbox == SandboxMode::kStrict)
      return fail(Fault::kSandbox, fmt::format("the full sandbox is not to be had here: {}", why_reduced));
  }
  // What loses its parent comes here: at the reduced level all of a job's processes, at the full one a runner whose
  // template has died.
  TRY(sys::retry("prctl(PR_SET_CHILD_SUBREAPER)", [] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1); }));
  if (why_reduced.empty()) {
    TRY(confine(jail.plan, setup.temp_dir));
  } else {
    jail.plan = make_plan(setup, SandboxLevel::kReduced, kFreshFolder, links);
    TRY(open_temp_dir(setup.temp_dir));
    TRY(write_bootstrap(jail.plan, setup));
    jail.own_shm = is_loadable(own_shm_path(jail.plan));
    if (jail.own_shm) preload_own_shm(jail.plan);
  }
  jail.setup = std::move(setup);
  jail.landlock_abi = query_landlock_abi().value_or(0);
  jail.rlimits = plan_rlimits(jail.setup.limits, TRY(rlimit_facts(jail)));
  const auto named = try_notifications();
  jail.filter = script_filter({jail.plan.level, jail.plan.network, memory_account(jail)},
                              named ? Refusal::kByListener : Refusal::kByFilter);
  jail.layers = describe_layers(jail, why_reduced, named);
  TRY(harden_worker());
  if (first_in) TRY(first_in->wait(Deadline::never()));
  return jail;
}

}  // namespace coderunner
