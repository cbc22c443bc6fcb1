// Role: freezes and kills. See process_tree.h.
#include "worker/process_tree.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/sys.h"

namespace coderunner {
namespace {

bool contains(std::span<const pid_t> pids, pid_t pid) { return std::ranges::find(pids, pid) != pids.end(); }

bool has_children() {
  siginfo_t info{};
  // WNOWAIT leaves a zombie where it is: whether there is one is not the question, ECHILD is the answer.
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || sys::last_errno() != ECHILD;
}

// One call of kill_descendants.
class TreeKiller {
 public:
  TreeKiller(const ProcDir& proc, const KillScope& scope) : proc_(proc), scope_(scope), self_(::getpid()) {}

  Result<std::uint64_t> run() {
    for (;;) {
      const std::vector<ProcessInfo> all = TRY(descendants(proc_, self_));
      std::vector<ProcessInfo> alive;
      for (const ProcessInfo& process : all)
        if (!process.ended() && !spared(process)) alive.push_back(process);
      if (!alive.empty() && scope_.deadline.passed())
        return fail(Fault::kInternal, fmt::format("{} processes of the job outlive SIGKILL", alive.size()));
      if (TRY(freeze_new(alive))) continue;
      if (!alive.empty()) {
        for (const ProcessInfo& process : alive) TRY(signal(process, SIGKILL));
        TRY(wait_for_end(alive.front()));
        continue;
      }
      // Reaping frees places in RLIMIT_NPROC, so look once more after it.
      if (!reap(all)) return seen_.size();
    }
  }

 private:
  // By its pid, too: a process that is to lead a session may not have got so far yet.
  [[nodiscard]] bool spared(const ProcessInfo& process) const { return belongs_to(process, scope_.spared); }

  // Stops each process that was not known yet. True when there was one, alive or gone before it could be held: as long
  // as there is motion the listing is not the whole truth.
  Result<bool> freeze_new(const std::vector<ProcessInfo>& alive) {
    bool motion = false;
    for (const ProcessInfo& process : alive) {
      if (!seen_.emplace(process.pid, process.start_time).second) continue;
      motion = true;
      TRY(signal(process, SIGSTOP));
      // Stopped, it can not end and give its pid away before this call. Refused for a process that has changed its
      // user, which no_new_privs rules out; it is killed all the same.
      const rlimit none{0, 0};
      (void)::prlimit(process.pid, RLIMIT_NPROC, &none, nullptr);
    }
    return motion;
  }

  // The pidfd of exactly the process that was listed; not valid when that one is gone.
  Result<UniqueFd> hold(const ProcessInfo& process) const {
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    if (!pidfd.valid()) {
      // ESRCH: reaped; EINVAL: the pid belongs to a thread now (pidfd_open(2)).
      if (sys::last_errno() == ESRCH || sys::last_errno() == EINVAL) return UniqueFd();
      return std::unexpected(sys::last_error("pidfd_open"));
    }
    const std::optional<ProcessInfo> now = proc_.look_up(process.pid);
    if (!now || now->start_time != process.start_time) return UniqueFd();
    return pidfd;
  }

  Result<void> signal(const ProcessInfo& process, int signal) const {
    const UniqueFd pidfd = TRY(hold(process));
    // A failure shows as a process that is left at the deadline.
    if (pidfd.valid()) (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
    return {};
  }

  Result<void> wait_for_end(const ProcessInfo& process) const {
    const UniqueFd pidfd = TRY(hold(process));
    if (!pidfd.valid()) return {};
    pollfd entry{pidfd.get(), POLLIN, 0};
    TRY(sys::poll(std::span(&entry, 1), Deadline::in(Millis(50)).earlier(scope_.deadline)));
    return {};
  }

  // Reaps this process's own dead children; true when there was one.
  bool reap(const std::vector<ProcessInfo>& all) const {
    bool reaped = false;
    for (const ProcessInfo& process : all) {
      if (process.parent != self_ || spared(process)) continue;
      reaped |= ::waitpid(process.pid, nullptr, WNOHANG) > 0;
    }
    return reaped;
  }

  const ProcDir& proc_;
  const KillScope& scope_;
  pid_t self_;
  std::set<std::pair<pid_t, std::uint64_t>> seen_;
};

}  // namespace

bool belongs_to(const ProcessInfo& process, std::span<const pid_t> pids) {
  return contains(pids, process.pid) || contains(pids, process.session);
}

Result<std::uint64_t> kill_descendants(const KillScope& scope) {
  if (!has_children()) return 0;
  const ProcDir proc = TRY(ProcDir::open());
  return TreeKiller(proc, scope).run();
}

}  // namespace coderunner
