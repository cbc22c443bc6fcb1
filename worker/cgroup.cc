// Role: the file protocol of cgroups, versions 1 and 2.
// Callers: see cgroup.h.
// Law: one write(2) a value. Files that a kernel may lack are named so where they are opened.
#include "worker/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>

#include "common/sys.h"

namespace coderunner {

namespace {

constexpr int kKillRounds = 1000;  // a fork bomb loses by then: each round kills all that the last one left

enum class Need { kRequired, kOptional };
enum class Mode { kRead, kWrite, kReadWrite, kTryReadWrite };

Error cgroup_error(const std::string& path, int code) {
  const char* name = strerrorname_np(code);
  std::string message = fmt::format("cgroup: {}: {}", path, name == nullptr ? "unknown error" : name);
  if (code == EROFS) message += " (mount the cgroup file system read-write, or add Delegate=yes to the service)";
  if (code == EACCES || code == EPERM) message += " (add Delegate=yes to the service, or start as root)";
  return {Fault::kSandbox, std::move(message)};
}

Result<CgroupFile> open_file(const std::string& directory, std::string_view name, Mode mode, Need need) {
  CgroupFile file{.path = fmt::format("{}/{}", directory, name), .fd = {}, .writable = mode != Mode::kRead};
  const int access = mode == Mode::kRead ? O_RDONLY : mode == Mode::kWrite ? O_WRONLY : O_RDWR;
  file.fd.reset(::open(file.path.c_str(), access | O_CLOEXEC));
  if (!file.fd.valid() && mode == Mode::kTryReadWrite && sys::last_errno() == EACCES) {
    file.writable = false;
    file.fd.reset(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  if (file.fd.valid()) return file;
  const int code = sys::last_errno();
  if (code == ENOENT && need == Need::kOptional) return file;
  return std::unexpected(cgroup_error(file.path, code));
}

bool exists(const std::string& directory, std::string_view name) {
  return ::access(fmt::format("{}/{}", directory, name).c_str(), F_OK) == 0;
}

Result<std::uint64_t> parse_number(const std::string& path, std::string_view text) {
  if (text.starts_with("max")) return std::numeric_limits<std::uint64_t>::max();
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{}) return value;
  return fail(Fault::kSandbox, fmt::format("cgroup: {}: not a number", path));
}

// The lines of cgroup.procs. Processes outside the reader's pid namespace show as 0 (pid_namespaces(7)): left out.
std::vector<pid_t> parse_pids(std::string_view text) {
  std::vector<pid_t> pids;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    pid_t pid = 0;
    std::from_chars(text.data(), text.data() + end, pid);
    if (pid > 0) pids.push_back(pid);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return pids;
}

}  // namespace

// From the start each time: these files are made anew for every reader that begins there.
Result<std::string> CgroupFile::read() const {
  std::string all;
  std::array<char, 4096> chunk;
  for (;;) {
    ssize_t count = -1;
    do count = ::pread(fd.get(), chunk.data(), chunk.size(), static_cast<off_t>(all.size()));
    while (count == -1 && sys::interrupted());
    if (count == -1) return std::unexpected(cgroup_error(path, sys::last_errno()));
    if (count == 0) return all;
    all.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

Result<void> CgroupFile::write(std::string_view text) const {
  ssize_t count = -1;
  do count = ::pwrite(fd.get(), text.data(), text.size(), 0);
  while (count == -1 && sys::interrupted());
  if (count == -1) return std::unexpected(cgroup_error(path, sys::last_errno()));
  return {};
}

Result<std::uint64_t> CgroupFile::number() const { return parse_number(path, TRY(read())); }

Result<std::uint64_t> CgroupFile::counter(std::string_view name) const {
  const std::string text = "\n" + TRY(read());
  const std::string key = fmt::format("\n{} ", name);
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return fail(Fault::kSandbox, fmt::format("cgroup: {}: no line {}", path, name));
  return parse_number(path, std::string_view(text).substr(at + key.size()));
}

Result<JobCgroup> JobCgroup::open(const std::vector<std::string>& directories) {
  if (directories.empty()) return fail(Fault::kSandbox, "cgroup: no directory given");
  JobCgroup cgroup;
  for (const std::string& directory : directories) TRY(cgroup.add_directory(directory));
  return cgroup;
}

Result<void> JobCgroup::add_directory(const std::string& directory) {
  // cgroup.controllers is in every directory of version 2 and in none of version 1.
  const Version version = exists(directory, "cgroup.controllers") ? Version::kV2 : Version::kV1;
  Hierarchy hierarchy{.version = version, .procs = {}, .directory = {}, .kill = {}, .events = {}};
  hierarchy.procs = TRY(open_file(directory, "cgroup.procs", Mode::kWrite, Need::kRequired));
  hierarchy.directory = TRY(sys::open(directory, O_PATH | O_DIRECTORY));
  if (version == Version::kV2) {
    hierarchy.kill = TRY(open_file(directory, "cgroup.kill", Mode::kWrite, Need::kOptional));
    hierarchy.events = TRY(open_file(directory, "cgroup.events", Mode::kRead, Need::kRequired));
  }
  hierarchies_.push_back(std::move(hierarchy));
  TRY(open_memory(directory, version));
  return open_pids(directory, version);
}

Result<void> JobCgroup::open_memory(const std::string& directory, Version version) {
  const bool v1 = version == Version::kV1;
  const std::string_view limit = v1 ? "memory.limit_in_bytes" : "memory.max";
  if (!exists(directory, limit)) return {};  // the controller is not in this hierarchy
  memory_version_ = version;
  memory_limit_ = TRY(open_file(directory, limit, Mode::kWrite, Need::kRequired));
  memory_events_ = TRY(open_file(directory, v1 ? "memory.oom_control" : "memory.events", Mode::kRead, Need::kRequired));
  memory_usage_ =
      TRY(open_file(directory, v1 ? "memory.usage_in_bytes" : "memory.current", Mode::kRead, Need::kRequired));
  // memory.peak: Linux 5.19; it can be reset, for the descriptor that does so, since 6.12 and is read-only before.
  memory_peak_ = TRY(open_file(directory, v1 ? "memory.max_usage_in_bytes" : "memory.peak", Mode::kTryReadWrite,
                               Need::kOptional));
  // Absent in kernels without swap accounting.
  memory_swap_ = TRY(open_file(directory, v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", Mode::kReadWrite,
                               Need::kOptional));
  if (v1 && !memory_swap_.valid()) {
    memory_swappiness_ = TRY(open_file(directory, "memory.swappiness", Mode::kWrite, Need::kOptional));
  }
  if (!v1) {
    // One process killed for want of memory leaves the rest of the job in an unknown state: all go (Linux 4.19).
    const CgroupFile group = TRY(open_file(directory, "memory.oom.group", Mode::kWrite, Need::kOptional));
    if (group.valid()) TRY(group.write("1\n"));
  }
  return {};
}

Result<void> JobCgroup::open_pids(const std::string& directory, Version version) {
  if (!exists(directory, "pids.max")) return {};
  pids_version_ = version;
  pids_max_ = TRY(open_file(directory, "pids.max", Mode::kWrite, Need::kRequired));
  pids_events_ = TRY(open_file(directory, "pids.events", Mode::kRead, Need::kOptional));  // Linux 4.8
  return {};
}

std::string JobCgroup::detail() const {
  const auto by = [](const CgroupFile& file, Version version) {
    return file.valid() ? fmt::format("cgroup v{}", static_cast<int>(version)) : std::string("no controller");
  };
  return fmt::format("memory: {}; processes: {}", by(memory_limit_, memory_version_), by(pids_max_, pids_version_));
}

Result<void> JobCgroup::set_limits(const CgroupLimits& limits) const {
  if (accounts_memory()) TRY(set_memory_limit(limits.memory_bytes));
  if (limits_processes()) TRY(pids_max_.write(fmt::format("{}\n", limits.processes)));
  return {};
}

Result<void> JobCgroup::set_memory_limit(Bytes bytes) const {
  const std::string text = fmt::format("{}\n", bytes);
  if (memory_version_ == Version::kV2) {
    TRY(memory_limit_.write(text));
    return memory_swap_.valid() ? memory_swap_.write("0\n") : Result<void>{};
  }
  if (!memory_swap_.valid()) {
    TRY(memory_limit_.write(text));
    return memory_swappiness_.valid() ? memory_swappiness_.write("0\n") : Result<void>{};
  }
  // The limit for memory may never exceed the one for memory and swap, so the order depends on the direction.
  const bool raising = bytes > TRY(memory_swap_.number());
  TRY((raising ? memory_swap_ : memory_limit_).write(text));
  return (raising ? memory_limit_ : memory_swap_).write(text);
}

std::vector<int> JobCgroup::entrances() const {
  std::vector<int> files;
  for (const Hierarchy& hierarchy : hierarchies_) files.push_back(hierarchy.procs.fd.get());
  return files;
}

Result<void> JobCgroup::enter() const {
  for (const Hierarchy& hierarchy : hierarchies_) TRY(hierarchy.procs.write("0"));
  return {};
}

Result<std::uint64_t> JobCgroup::oom_kills() const {
  return accounts_memory() ? memory_events_.counter("oom_kill") : 0;  // version 1: Linux 4.13
}

Result<std::uint64_t> JobCgroup::refused_forks() const {
  return pids_events_.valid() ? pids_events_.counter("max") : 0;
}

// ENODEV is what an open file of a removed directory answers (fs/kernfs/file.c, kernfs_get_active). What is in the
// files is not looked at: older kernels lack a line here and there.
Result<void> JobCgroup::check_there() const {
  for (const CgroupFile* file : {&memory_events_, &pids_events_})
    if (file->valid()) TRY(file->read());
  return {};
}

Result<Bytes> JobCgroup::current_bytes() const { return accounts_memory() ? memory_usage_.number() : 0; }

Result<std::optional<Bytes>> JobCgroup::peak_bytes() const {
  if (!memory_peak_.valid() || !memory_peak_.writable) return std::nullopt;
  return TRY(memory_peak_.number());
}

Result<void> JobCgroup::reset_peak() const {
  if (!memory_peak_.valid() || !memory_peak_.writable) return {};
  return memory_peak_.write("0\n");
}

Result<void> JobCgroup::kill_all() const {
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (hierarchy.kill.valid()) return hierarchy.kill.write("1\n");
  }
  return kill_one_by_one(hierarchies_.front());
}

Result<std::string> JobCgroup::read_procs(const Hierarchy& hierarchy) {
  const CgroupFile fresh{.path = hierarchy.procs.path,
                         .fd = TRY(sys::open_at(hierarchy.directory.get(), "cgroup.procs", O_RDONLY)),
                         .writable = false};
  return fresh.read();
}

// Until a round meets nobody whom the one before has not signalled already: what was forked in between is new.
Result<void> JobCgroup::kill_one_by_one(const Hierarchy& hierarchy) {
  std::vector<pid_t> signalled;
  for (int round = 0; round < kKillRounds; ++round) {
    std::vector<pid_t> found = parse_pids(TRY(read_procs(hierarchy)));
    std::erase(found, ::getpid());
    std::ranges::sort(found);  // the files are not always sorted
    if (std::ranges::includes(signalled, found)) return {};
    for (const pid_t pid : found) ::kill(pid, SIGKILL);  // ESRCH: it has ended by itself
    signalled = std::move(found);
  }
  return fail(Fault::kSandbox,
              fmt::format("cgroup: {}: processes multiply faster than they are killed", hierarchy.procs.path));
}

Result<bool> JobCgroup::populated() const {
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (hierarchy.version == Version::kV2) return TRY(hierarchy.events.counter("populated")) != 0;
  }
  return !TRY(read_procs(hierarchies_.front())).empty();
}

}  // namespace coderunner
