// Role: the steps, in order.
// Callers: see launch.h.
#include "supervisor/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "common/sys.h"
#include "common/units.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/drop_user.h"
#include "supervisor/http.h"
#include "supervisor/imports.h"
#include "supervisor/sandbox_bait.h"

namespace coderunner {

namespace {

// A connection, a waiting request and a worker each take descriptors; the soft limit is 1,024 by tradition only, for
// programs that use select(2). Jobs get theirs from it too, and nobody gets more than the hard limit.
Result<std::uint64_t> raise_descriptor_limit(std::uint64_t for_jobs) {
  rlimit limit{};
  TRY(sys::retry("getrlimit(RLIMIT_NOFILE)", [&] { return ::getrlimit(RLIMIT_NOFILE, &limit); }));
  if (limit.rlim_max < for_jobs) {
    return fail(Fault::kInternal, fmt::format("descriptors: {} is above this process's hard limit of open files, which "
                                              "is {} (raise it: ulimit -Hn, LimitNOFILE=)", for_jobs, limit.rlim_max));
  }
  limit.rlim_cur = limit.rlim_max;
  TRY(sys::retry("setrlimit(RLIMIT_NOFILE)", [&] { return ::setrlimit(RLIMIT_NOFILE, &limit); }));
  return limit.rlim_cur;
}

// What the templates of all workers pin counts for the service's user (worker/pin_ring.h). Only root may go above the
// hard limit; what is missing costs time, and nothing else.
void raise_pin_limit(std::size_t workers) {
  constexpr rlim_t kWorker = 16 * kMiB;
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
  const rlim_t enough = std::max<rlim_t>(workers * kWorker, limit.rlim_max);
  const rlimit wish{enough, enough};
  if (::setrlimit(RLIMIT_MEMLOCK, &wish) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_MEMLOCK, &limit);
}

// Below $TMPDIR or /tmp, for the service's user alone.
Result<std::string> make_temp_dir(const Account& account) {
  const char* chosen = ::getenv("TMPDIR");
  const bool usable = chosen != nullptr && chosen[0] == '/';
  const std::string wish = fmt::format("{}/coderunner-XXXXXX", usable ? chosen : "/tmp");
  std::string path = wish;
  if (::mkdtemp(path.data()) == nullptr) return std::unexpected(sys::last_error(fmt::format("mkdtemp(\"{}\")", wish)));
  TRY(sys::retry("chown", [&] { return ::chown(path.c_str(), account.uid, account.gid); }));
  return path;
}

// Those that this process may use (sched_getaffinity(2)).
std::size_t count_cores() { return std::max(1U, std::thread::hardware_concurrency()); }

std::string running_folder() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
}

}  // namespace

Result<Ground> lay_ground(const Settings& settings, std::size_t workers, std::span<char> title_area) {
  const std::uint64_t descriptors = TRY(raise_descriptor_limit(settings.limits.descriptors));
  raise_pin_limit(workers);
  plant_bait_variable();
  // What outlives its worker becomes our child, and can be found and killed (orphans.h).
  TRY(sys::retry("prctl(PR_SET_CHILD_SUBREAPER)", [] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }));
  Account account = TRY(service_account(settings.user));
  WorkerProgram program = TRY(find_worker());
  std::string temp_dir = TRY(make_temp_dir(account));
  CgroupTree cgroups = make_cgroup_tree(real_cgroups(), workers, account);
  std::vector<std::vector<std::string>> dirs = cgroups.worker_dirs;
  std::vector<std::string> notes = cgroups.notes;
  Keeper keeper = TRY(Keeper::start({std::move(cgroups), temp_dir}, title_area));
  TRY(drop_to(account));
  if (::access(temp_dir.c_str(), W_OK | X_OK) != 0) {
    return fail(Fault::kInternal, fmt::format("{}: user {} can not enter it (set TMPDIR)", temp_dir, account.name));
  }
  return Ground{std::move(account), std::move(program), std::move(temp_dir), descriptors, std::move(dirs),
                std::move(notes), std::move(keeper)};
}

ConnectionLimits limit_connections(std::uint64_t descriptors, std::size_t workers, std::uint64_t queue) {
  // Its own: 14 for good, and what a look into /proc or an accepted connection takes for a moment. A worker has two,
  // and six while it is born; no more than one is born at a time for each.
  constexpr std::uint64_t kOwn = 24 + HttpConfig::kGoing, kWorker = 8;
  const std::uint64_t taken = kOwn + kWorker * workers;
  const std::uint64_t left = descriptors > taken ? descriptors - taken : 0;
  const std::uint64_t shared = left - std::min(queue, left / 2);  // a request that waits has a second one (queue.h)
  const std::uint64_t lingering = std::min<std::uint64_t>(kMaxLingering, shared / 5);
  return {std::clamp<std::uint64_t>(shared - lingering, 4, kMaxConnections), lingering};
}

Result<Interpreter> find_python(const Settings& settings) {
  const char* search = ::getenv("PATH");
  return find_interpreter({settings.python, search != nullptr ? search : "", settings.packages,
                           running_folder(), settings.network});
}

PoolConfig describe_pool(const Settings& settings, std::size_t workers, Ground& ground, const Interpreter& python) {
  PoolConfig config;
  config.workers = workers;
  config.queue = settings.queue;
  config.queue_bytes = settings.queue_bytes;
  config.program = std::move(ground.program);
  config.setup.sandbox = settings.sandbox;
  // A single job would wait for its template, and never get the time back.
  config.setup.runner = settings.command == Command::kRun ? RunnerMode::kFresh : settings.runner;
  config.setup.network = settings.network;
  config.setup.cores = static_cast<std::uint32_t>(std::max<std::size_t>(1, count_cores() / workers));
  config.setup.python = python.path;
  config.setup.read_only_paths = python.read_only_paths;
  config.setup.bootstrap_name = python.bootstrap_name;
  config.setup.bootstrap_code = python.bootstrap_code;
  config.setup.packages = python.packages;
  PreloadLists preload = divide_preload(settings.preload, python.standard_modules);
  config.setup.preload = std::move(preload.standard);
  config.setup.preload_packages = std::move(preload.packages);
  config.setup.temp_dir = ground.temp_dir;
  config.setup.limits = settings.limits;
  config.cgroup_dirs = ground.cgroup_dirs;
  config.other_children = {&ground.keeper.child()};
  config.complain = complain;
  return config;
}

std::size_t count_workers(const Settings& settings) {
  if (settings.workers > 0) return settings.workers;
  return count_cores();
}

}  // namespace coderunner
