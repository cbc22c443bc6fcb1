// Role: the processes below one, found in /proc; ending all of them where no PID namespace does it.
// Callers: sandbox.cc, pump.cc, run_job.cc, memory_watch.cc.
// Law: a pid from a listing may belong to somebody else by the time it is used: a signal goes through a pidfd whose
// process is still the one that was listed (same start time). /proc/PID/task/TID/children would be cheaper to read, but
// is reliable only while all of them are stopped (proc(5)), and not every kernel has it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace coderunner {

// One line of a listing: what was, not a handle.
struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t session = 0;
  char state = '?';              // proc(5): R, S, D, T, Z, …
  bool exiting = false;          // PF_EXITING: it never comes back from the kernel
  std::uint64_t threads = 0;
  std::uint64_t cpu_ticks = 0;   // user and system time of it and of the children it has waited for
  std::uint64_t child_ticks = 0; // the part of it that is the children's
  std::uint64_t start_time = 0;  // clock ticks since boot: tells a pid from its next holder
  bool mapped = false;           // it has its memory still; the last to go is what it was told at exit(2)
  int wait_status = 0;           // as wait(2) will give it; 0 before the end, and where this process may not look

  // Nothing of it runs any more. A leader may be a zombie while its threads live (pthread_exit in main).
  [[nodiscard]] bool ended() const { return (state == 'Z' || state == 'X') && threads <= 1; }
};

// Of /proc/PID/status: whether SIGKILL is among the signals that wait to be taken, by this thread or by any.
bool parse_kill_sent(std::string_view status);

// /proc/PID/stat; nullopt when the text is not one.
std::optional<ProcessInfo> parse_stat(std::string_view text);

// An open /proc, for looking at processes from outside.
class ProcDir {
 public:
  static Result<ProcDir> open();
  Result<std::vector<ProcessInfo>> list() const;  // every process that can be seen
  // The beginning of /proc/<pid>/<name>, at most into.size() bytes; nullopt when the process is gone or forbids it.
  std::optional<std::string_view> read(pid_t pid, std::string_view name, std::span<char> into) const;
  // `pid` may also be a thread's: /proc answers for it without listing it (proc(5)).
  std::optional<ProcessInfo> look_up(pid_t pid) const;
  std::vector<pid_t> threads(pid_t pid) const;  // its first one first; none when the process is gone
  // Whether it can go on running: it has neither ended, nor begun to, nor been sent SIGKILL.
  bool lives(pid_t pid) const;

 private:
  explicit ProcDir(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// All processes below `root`, without it, zombies included; parents before children.
Result<std::vector<ProcessInfo>> descendants(const ProcDir& proc, pid_t root);

// The children of a process, zombies included, from proc(5)'s file of that name; it may miss some while processes come
// and go. nullopt: the kernel has no such file (CONFIG_PROC_CHILDREN), or the process is gone.
std::optional<std::vector<pid_t>> children_of(pid_t pid);

// Processes and threads alive below `root`, without what belongs to `except`.
Result<std::uint64_t> count_tasks(const ProcDir& proc, pid_t root, std::span<const pid_t> except);

// Whether a process is one of these, or in a session that one of these leads: a template's children are in its own.
bool belongs_to(const ProcessInfo& process, std::span<const pid_t> pids);

struct KillScope {
  // What belongs to these is neither killed nor reaped; others below them are killed.
  std::vector<pid_t> spared{};
  Deadline deadline = Deadline::in(Millis(10'000));
};

// Kills every process below this one, which must be a subreaper (PR_SET_CHILD_SUBREAPER), and reaps those that are or
// become its children. Returns how many it had to kill; 0 without reading /proc when there is no child at all.
// Fork bombs: each process is stopped first and loses its right to fork (RLIMIT_NPROC 0), and nothing is reaped before
// all of them stand still. So every process ever made keeps its place in the user's RLIMIT_NPROC, which a bomb, and a
// chain of processes that each fork and exit, soon fills. (Root is not bound by it: fork(2), EAGAIN.)
// Error: Fault::kInternal with the number that is left at the deadline.
Result<std::uint64_t> kill_descendants(const KillScope& scope);

}  // namespace coderunner
