// Role: the processes of this machine as /proc shows them: one, all, those below one.
// Callers: the worker's process_tree.cc, sandbox.cc, template.cc, memory_watch.cc, leak_sentinel.cc; the supervisor's
// metrics.cc.
// Law: what is read is what was: a pid may belong to somebody else by the time it is used. /proc/PID/task/TID/children
// would be cheaper to read than a listing, but is reliable only while all of them are stopped (proc(5)), and not every
// kernel has it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
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
  std::uint64_t resident_pages = 0;  // in memory; such as are shared with others count here, too
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

}  // namespace coderunner
