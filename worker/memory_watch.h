// Role: how much memory a job's processes hold, seen from outside, where no cgroup counts it.
// Callers: run_job.cc, every 25 ms.
// Law: a job is called over its limit only by the exact figure; the cheap one only says when to ask for it.
//
// Cheap, from /proc/PID/status: RssAnon + RssShmem + VmSwap of every process. Pages of files (libraries) do not count:
// the kernel can drop them. A page that several processes share (after fork, or shared memory) counts for each of them,
// so it is an upper bound; 20 processes that share 200 MB by fork look like 4 GB.
// Exact, from /proc/PID/smaps_rollup: the same kinds of page, each divided by the number of processes that map it
// (Pss_Anon + Pss_Shmem + SwapPss). It walks the page tables: about 10 ms for 1.5 GB. It needs a kernel of 5.4 and a
// process that lets itself be looked at; one that does not (PR_SET_DUMPABLE 0) counts with its upper bound.
// Neither sees a memfd or tmpfs file that nobody has mapped. The files of the job's own tmpfs are counted by that file
// system (statfs(2)); what processes map of them would then count twice, and is taken off the exact figure (smaps).
#pragma once

#include <sys/types.h>

#include <span>
#include <string_view>

#include "common/result.h"
#include "common/units.h"
#include "worker/process_tree.h"

namespace coderunner {

enum class MemoryCount { kUpperBound, kExact };

// Of all processes below `root`, without it and without what belongs to `except` (process_tree.h).
Result<Bytes> tree_memory(const ProcDir& proc, pid_t root, std::span<const pid_t> except, MemoryCount count);

// The part of their memory that the same processes map from the file system of that device (st_dev), each page divided
// by the number of processes that map it.
Result<Bytes> tree_memory_of_device(const ProcDir& proc, pid_t root, std::span<const pid_t> except, dev_t device);

class MemoryWatch {
 public:
  // `tmpfs`: any descriptor of the job's own one, -1 where its files are not memory.
  MemoryWatch(ProcDir proc, Bytes limit, int tmpfs) : proc_(std::move(proc)), limit_(limit), tmpfs_(tmpfs) {}

  // Looks once; true when the job is above its limit. The exact count is taken only when the upper bound exceeds the
  // limit, and then at most a fifth of the time, so that a job of many forks is not slowed by being watched.
  Result<bool> over_limit(pid_t root, std::span<const pid_t> except);

  // The highest figure so far: exact where an exact one was taken.
  [[nodiscard]] Bytes peak() const { return peak_; }

 private:
  Result<Bytes> count_exactly(pid_t root, std::span<const pid_t> except) const;

  ProcDir proc_;
  Bytes limit_;
  int tmpfs_;
  Bytes peak_ = 0;
  Clock::time_point next_exact_{};
};

// Of a text like /proc/PID/smaps: the pages of files of that device, without those that a private mapping has copied.
Bytes parse_mapped_from(std::string_view smaps, dev_t device);

// The value of `key` ("RssAnon:") in a file of lines `key   number kB`, in bytes; 0 when it is not there.
Bytes parse_kilobytes(std::string_view text, std::string_view key);

}  // namespace coderunner
