// Role: the rows and the loop of rlimits.h.
// Callers: see rlimits.h.
// Law: sources: setrlimit(2), and user_namespaces(7) for what is counted where.
#include "worker/rlimits.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "common/sys.h"

namespace coderunner {

namespace {

constexpr rlim_t kMessageQueues = 819'200;  // the kernel's own default (include/uapi/linux/resource.h)

// The number after `field` in a /proc/<pid>/status, whose lines read "Uid:\t1000\t1000\t1000\t1000".
std::optional<std::uint64_t> status_field(std::string_view status, std::string_view field) {
  const std::size_t at = status.find(field);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = status.substr(at + field.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  std::uint64_t value = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec != std::errc{}) return std::nullopt;
  return value;
}

}  // namespace

RlimitPlan plan_rlimits(const Limits& limits, const RlimitFacts& facts) {
  const bool full = facts.level == SandboxLevel::kFull;
  const rlim_t tasks = facts.other_tasks + limits.processes;
  RlimitPlan plan{
      {RLIMIT_CORE, "core", 0, 0, "a crash leaves no file"},
      {RLIMIT_FSIZE, "fsize", limits.scratch_bytes, limits.scratch_bytes, "one file can not exceed the scratch space"},
      {RLIMIT_MEMLOCK, "memlock", 64 * kKiB, 64 * kKiB, "enough for a key, too little to hold memory from others"},
      {RLIMIT_MSGQUEUE, "msgqueue", full ? kMessageQueues : 0, full ? kMessageQueues : 0,
       "queues are kernel memory, and outlive the job where there is no ipc namespace"},
      {RLIMIT_NICE, "nice", 0, 0, "no higher priority"},
      {RLIMIT_NOFILE, "nofile", limits.descriptors, limits.descriptors, "descriptors are kernel memory"},
      {RLIMIT_RTPRIO, "rtprio", 0, 0, "no real-time scheduling"},
      {RLIMIT_SIGPENDING, "sigpending", 1024, 1024, "queued signals and timers are kernel memory"},
      {RLIMIT_STACK, "stack", 8 * kMiB, RLIM_INFINITY, "the usual size of a thread's stack; raising it stays allowed"},
  };
  // A cgroup counts exactly. Where this limit counts the user's other processes too, it would let one job starve
  // another.
  if (!facts.pids_cgroup)
    plan.push_back({RLIMIT_NPROC, "nproc", tasks, tasks, "fork bombs end here where there is no pids cgroup"});
  if (facts.memory == MemoryAccount::kNone) {
    // The last row: who applies it allocates no more. Far above the limit, because reserved pages are not used ones:
    // numpy's threads and Python's arenas reserve GiBs which they never touch. The worker watches what is really used.
    const rlim_t wall = 4 * limits.memory_bytes + 4 * kGiB;
    plan.push_back({RLIMIT_AS, "as", wall, wall, "the wall where no cgroup accounts memory"});
  }
  return plan;
}

Result<void> apply_rlimits(const RlimitPlan& plan) {
  for (const RlimitRow& row : plan) {
    const auto resource = static_cast<__rlimit_resource_t>(row.resource);
    rlimit now{};
    TRY(sys::retry("getrlimit", [&] { return ::getrlimit(resource, &now); }));
    const rlim_t hard = std::min(row.hard, now.rlim_max);
    const rlimit next{std::min(row.soft, hard), hard};
    TRY(sys::retry(fmt::format("setrlimit({})", row.name), [&] { return ::setrlimit(resource, &next); }));
  }
  return {};
}

bool nproc_is_per_namespace(SandboxLevel level) {
  if (level != SandboxLevel::kFull) return false;
  utsname name{};
  if (::uname(&name) != 0) return false;
  char* end = nullptr;
  const long major = std::strtol(name.release, &end, 10);
  const long minor = *end == '.' ? std::strtol(end + 1, nullptr, 10) : 0;
  return major > 5 || (major == 5 && minor >= 14);
}

Result<std::uint64_t> count_user_tasks(uid_t user) {
  std::error_code trouble;
  std::filesystem::directory_iterator entries("/proc", trouble);
  if (trouble) return fail(Fault::kSandbox, fmt::format("opendir(\"/proc\"): {}", trouble.message()));
  std::uint64_t tasks = 0;
  for (; entries != std::filesystem::directory_iterator(); entries.increment(trouble)) {
    const std::string name = entries->path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // The owner of the folder would be root for a process that is not dumpable (proc(5)); the file tells the truth.
    const auto status = sys::read_file("/proc/" + name + "/status", 64 * kKiB);
    if (!status) continue;  // ended meanwhile
    if (status_field(*status, "\nUid:") != user) continue;
    tasks += status_field(*status, "\nThreads:").value_or(1);
  }
  // An iterator that fails stands at the end.
  if (trouble) return fail(Fault::kSandbox, fmt::format("readdir(\"/proc\"): {}", trouble.message()));
  return tasks;
}

}  // namespace coderunner
