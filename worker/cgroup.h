// Role: a worker's cgroup, by whichever version the machine has: limits memory and tasks of one job after another.
// Callers: the worker opens it once, sets limits and reads counters; init, before anything of the job runs, enters.
// Law: descriptors only, since a worker that has moved into its jail sees no path of the cgroup file system any more.
// Nobody is ever moved in by another process: that waits for a grace period of the kernel, milliseconds each time.
// The worker itself stays outside: an out-of-memory kill takes the whole cgroup.
// Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and cgroup-v1/pids.rst of Linux 6.12.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace coderunner {

struct CgroupLimits {
  Bytes memory_bytes = 0;       // memory and swap together
  std::uint64_t processes = 0;  // processes and threads
};

// One file, open for as long as the cgroup is used. `valid()` is false when the kernel has no such file.
struct CgroupFile {
  std::string path;
  UniqueFd fd;
  bool writable = false;

  [[nodiscard]] bool valid() const { return fd.valid(); }
  [[nodiscard]] Result<std::string> read() const;
  [[nodiscard]] Result<void> write(std::string_view text) const;
  [[nodiscard]] Result<std::uint64_t> number() const;                          // "max" is the largest one
  [[nodiscard]] Result<std::uint64_t> counter(std::string_view name) const;    // of the line "name N"
};

class JobCgroup {
 public:
  // One directory of version 2, or one a hierarchy of version 1, or a mixture. What each is for shows in its files.
  // Fault::kSandbox, with the cure, when one can not be opened for writing.
  static Result<JobCgroup> open(const std::vector<std::string>& directories);

  [[nodiscard]] bool accounts_memory() const { return memory_limit_.valid(); }
  [[nodiscard]] bool limits_processes() const { return pids_max_.valid(); }
  [[nodiscard]] std::string detail() const;  // for LayerState: "memory: cgroup v1; processes: cgroup v1"

  // Sets what can be limited here; see the two above.
  [[nodiscard]] Result<void> set_limits(const CgroupLimits& limits) const;
  // Moves the calling process in; its children start there. Needs a few tens of microseconds.
  [[nodiscard]] Result<void> enter() const;

  // The files that a process writes "0" to in order to enter, for one that does so by itself; borrowed.
  [[nodiscard]] std::vector<int> entrances() const;

  // Counters since the cgroup was made: compare before and after a job. 0 where there is no such controller.
  [[nodiscard]] Result<std::uint64_t> oom_kills() const;      // processes killed for the limit
  [[nodiscard]] bool counts_refused_forks() const { return pids_events_.valid(); }
  [[nodiscard]] Result<std::uint64_t> refused_forks() const;  // fork(2) answered EAGAIN for the limit

  // Fault::kSandbox when somebody has removed it, or one of its hierarchies: nothing is limited there any more.
  [[nodiscard]] Result<void> check_there() const;

  [[nodiscard]] Result<Bytes> current_bytes() const;  // in use now; 0 without accounting
  // The most since reset_peak(); nullopt where the kernel can not tell for one job alone (version 2 before Linux 6.12).
  [[nodiscard]] Result<std::optional<Bytes>> peak_bytes() const;
  [[nodiscard]] Result<void> reset_peak() const;

  // SIGKILL to every process in it, also those that are being forked meanwhile. Does not wait for their end.
  [[nodiscard]] Result<void> kill_all() const;
  [[nodiscard]] Result<bool> populated() const;  // processes that have not ended; zombies do not count

 private:
  enum class Version : std::uint8_t { kV1 = 1, kV2 = 2 };
  struct Hierarchy {
    Version version = Version::kV1;
    CgroupFile procs;   // to enter
    UniqueFd directory; // to read cgroup.procs anew: version 1 answers a second read of one open file from a list
                        // that it keeps for a second (kernel/cgroup/cgroup-v1.c, cgroup_pidlist_start)
    CgroupFile kill;    // version 2, Linux 5.14
    CgroupFile events;  // version 2
  };

  Result<void> add_directory(const std::string& directory);
  Result<void> open_memory(const std::string& directory, Version version);
  Result<void> open_pids(const std::string& directory, Version version);
  [[nodiscard]] Result<void> set_memory_limit(Bytes bytes) const;
  [[nodiscard]] static Result<std::string> read_procs(const Hierarchy& hierarchy);
  [[nodiscard]] static Result<void> kill_one_by_one(const Hierarchy& hierarchy);

  std::vector<Hierarchy> hierarchies_;

  Version memory_version_ = Version::kV1;
  CgroupFile memory_limit_;      // memory.limit_in_bytes or memory.max
  CgroupFile memory_swap_;       // memory.memsw.limit_in_bytes (with memory) or memory.swap.max (alone)
  CgroupFile memory_swappiness_; // version 1 where swap is not accounted
  CgroupFile memory_usage_;
  CgroupFile memory_peak_;
  CgroupFile memory_events_;     // memory.oom_control or memory.events

  Version pids_version_ = Version::kV1;
  CgroupFile pids_max_;
  CgroupFile pids_events_;
};

}  // namespace coderunner
