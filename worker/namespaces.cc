// Role: see namespaces.h.
#include "worker/namespaces.h"

#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/sys.h"
#include "worker/plan.h"

namespace coderunner {
namespace {

// With the loopback up, scripts can talk to servers of their own; there is no other interface.
Result<void> raise_loopback() {
  const UniqueFd socket(static_cast<int>(TRY(sys::retry("socket(AF_INET)", [] {
    return ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  }))));
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  TRY(sys::retry("ioctl(SIOCSIFFLAGS, lo)", [&] { return ::ioctl(socket.get(), SIOCSIFFLAGS, &request); }));
  return {};
}

}  // namespace

Result<void> enter_worker_namespaces(NetworkMode network) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  TRY(sys::retry("unshare(user)", [] { return ::unshare(CLONE_NEWUSER); }));
  // A group map may be written by an unprivileged process only after setgroups is denied (user_namespaces(7)).
  TRY(sys::write_file("/proc/self/setgroups", "deny"));
  TRY(sys::write_file("/proc/self/uid_map", fmt::format("{} {} 1", kJobUid, uid)));
  TRY(sys::write_file("/proc/self/gid_map", fmt::format("{} {} 1", kJobGid, gid)));
  const bool apart = network == NetworkMode::kNone;
  const int spaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (apart ? CLONE_NEWNET : 0);
  TRY(sys::retry("unshare(mount, network, ipc, uts)", [&] { return ::unshare(spaces); }));
  TRY(sys::retry("mount(/, private)", [] { return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr); }));
  TRY(sys::retry("sethostname", [] { return ::sethostname("sandbox", 7); }));
  return apart ? raise_loopback() : Result<void>();
}

Result<Child> clone_init() {
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const long pid = TRY(sys::retry("clone3(pid, ipc, mount)", [&] {
    return ::syscall(SYS_clone3, &args, sizeof args);
  }));
  if (pid == 0) return Child();
  return Child(static_cast<pid_t>(pid), UniqueFd(pidfd));
}

Result<Child> fork_init() {
  const long pid = TRY(sys::retry("fork", [] { return ::fork(); }));
  if (pid == 0) return Child();
  return Child::adopt(static_cast<pid_t>(pid));
}

}  // namespace coderunner
