// Role: see init.h.
#include "worker/init.h"

#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "common/sys.h"
#include "worker/mounts.h"
#include "worker/privileges.h"
#include "worker/process_title.h"

namespace coderunner {
namespace {

std::uint64_t micros(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

void tell(int status, InitStatus::Kind kind, int wait_status, const rusage& usage, std::string_view message = {}) {
  const InitStatus record = make_status(kind, wait_status, usage);
  std::string bytes(reinterpret_cast<const char*>(&record), sizeof record);
  bytes += message;
  (void)sys::write_all(status, bytes);  // a worker that is gone needs no news
}

[[noreturn]] void give_up(int status, const Error& error) {
  tell(status, InitStatus::Kind::kFailed, 0, {}, error.message);
  ::_exit(1);
}

// The worker may have died before PR_SET_PDEATHSIG was set: then its pipe has hung up.
bool worker_alive(int life) {
  pollfd entry{life, 0, 0};
  return ::poll(&entry, 1, 0) == 0;
}

Result<void> build(const InitKit& kit) {
  TRY(sys::retry("prctl(PR_SET_PDEATHSIG)", [] { return ::prctl(PR_SET_PDEATHSIG, SIGKILL); }));
  if (!worker_alive(kit.life)) return fail(Fault::kInternal, "init: the worker has died");
  if (kit.cgroup != nullptr) TRY(kit.cgroup->enter());
  if (kit.plan->level == SandboxLevel::kFull) {
    TRY(mount_scratch(*kit.plan, kit.scratch));
    TRY(mount_proc());
  } else {
    // What loses its parent comes here instead of to the host's init.
    TRY(sys::retry("prctl(PR_SET_CHILD_SUBREAPER)", [] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1); }));
  }
  return {};
}

// Keeps 0..2 (closed or /dev/null in a worker), the status and the life pipe; every other end belongs to the runner,
// whose death must be the end of file on it.
void close_all_but(int first, int second) {
  const int low = std::min(first, second), high = std::max(first, second);
  ::close_range(3, static_cast<unsigned>(low) - 1, 0);
  if (high > low + 1) ::close_range(static_cast<unsigned>(low) + 1, static_cast<unsigned>(high) - 1, 0);
  ::close_range(static_cast<unsigned>(high) + 1, ~0U, 0);
}

[[noreturn]] void stand_by(int status) {
  tell(status, InitStatus::Kind::kBuilt, 0, {});
  ::close(status);
  for (;;) ::pause();
}

// A warm runner is not init's child, but at the full level what it leaves behind will be: reaped by the kernel
// (wait(2), SIGCHLD ignored).
[[noreturn]] void hold_open(const InitKit& kit) {
  ::signal(SIGCHLD, SIG_IGN);
  close_all_but(kit.status, kit.life);
  set_process_title("init");
  if (kit.plan->level == SandboxLevel::kReduced) {
    if (auto dropped = drop_privileges(); !dropped) give_up(kit.status, dropped.error());
    stand_by(kit.status);
  }
  // For setns(2) the template has to be allowed to look at this process, and a job must not be: so it is dumpable, but
  // has a capability that the template has and a job has not (ptrace(2), "Ptrace access mode checking", step 5).
  // Chrooting is the least of them, and needs system calls that nobody here can be made to call.
  if (auto kept = keep_over_exec({CAP_SYS_CHROOT}); !kept) give_up(kit.status, kept.error());
  if (auto dumpable = set_dumpable(Dumpable::kYes); !dumpable) give_up(kit.status, dumpable.error());
  stand_by(kit.status);
}

// A signal that PID 1 has no handler for can not be sent to it from inside (pid_namespaces(7)). A sanitizer's run-time
// library has installed some, which would end it.
void forget_handlers() {
  for (const int fatal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) ::signal(fatal, SIG_DFL);
}

}  // namespace

InitStatus make_status(InitStatus::Kind kind, int wait_status, const rusage& usage) {
  return {kind, wait_status, micros(usage.ru_utime) + micros(usage.ru_stime),
          static_cast<std::uint64_t>(usage.ru_maxrss) * kKiB};
}

void run_init(const InitKit& kit) {
  forget_handlers();
  if (auto built = build(kit); !built) give_up(kit.status, built.error());
  if (kit.warm) hold_open(kit);
  const auto forked = sys::retry("fork(runner)", [] { return ::fork(); });
  if (!forked) give_up(kit.status, forked.error());
  const auto runner = static_cast<pid_t>(*forked);
  if (runner == 0) give_up(kit.status, become_runner(kit.runner));

  close_all_but(kit.status, kit.life);
  set_process_title("init");
  if (auto dropped = drop_privileges(); !dropped) give_up(kit.status, dropped.error());
  for (;;) {
    int wait_status = 0;
    rusage usage{};
    const auto reaped = sys::retry("wait4", [&] { return ::wait4(-1, &wait_status, 0, &usage); });
    if (!reaped) break;  // ECHILD: nobody is left who could become a child of this one
    if (*reaped != runner) continue;
    tell(kit.status, InitStatus::Kind::kEnded, wait_status, usage);
  }
  for (;;) ::pause();  // the worker ends this process when it has seen the status
}

}  // namespace coderunner
