// Role: the policy table is complete, the compiled filters say what it says, and the kernel obeys them.
// Law: every refused call has its twin outside the sandbox, where the same call gets as far as the kernel's own checks.
#include "worker/seccomp_filter.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>

#include "common/sys.h"
#include "support/under_filter.h"
#include "worker/privileges.h"
#include "worker/seccomp_conditions.h"

namespace coderunner {
namespace {

using test::as_root;
using test::ending;
using test::FilterKind;
using test::facts_of;
using test::filter_of;
using test::kIdentities;
using test::under;

constexpr FilterKind kKinds[] = {FilterKind::kWorker,      FilterKind::kScriptFull,    FilterKind::kScriptReduced,
                                FilterKind::kFullOnHost,  FilterKind::kReducedOnHost, FilterKind::kFullUncharged,
                                FilterKind::kReducedUncharged};
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kUnknown = SECCOMP_RET_ERRNO | ENOSYS;
// Without a tracer the kernel answers the worker's with ENOSYS; a script's refusal is stricter, and so comes before it.
constexpr std::uint32_t refusal(FilterKind kind) {
  return kind == FilterKind::kWorker ? SECCOMP_RET_TRACE : SECCOMP_RET_ERRNO | EPERM;
}

// ---- the program against the table, without the kernel

// What the kernel's classic BPF machine answers (Documentation/networking/filter.rst), as far as filters use it.
std::uint32_t evaluate(const Filter& filter, const seccomp_data& data) {
  std::uint32_t a = 0;
  for (std::size_t at = 0; at < filter.program.size(); ++at) {
    const sock_filter& step = filter.program[at];
    const auto jump = [&](bool yes) { at += yes ? step.jt : step.jf; };
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + step.k, sizeof a);
        break;
      case BPF_ALU | BPF_AND | BPF_K: a &= step.k; break;
      case BPF_JMP | BPF_JA: at += step.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: jump(a == step.k); break;
      case BPF_JMP | BPF_JGT | BPF_K: jump(a > step.k); break;
      case BPF_JMP | BPF_JGE | BPF_K: jump(a >= step.k); break;
      case BPF_JMP | BPF_JSET | BPF_K: jump((a & step.k) != 0); break;
      case BPF_RET | BPF_K: return step.k;
      default: FAIL("an instruction that no filter has used so far: ", step.code);
    }
  }
  FAIL("the program runs past its end");
  return 0;
}

policy::Scopes scope_of(FilterKind kind) {
  return kind == FilterKind::kWorker ? policy::kWorkerScope : policy::scope_of(facts_of(kind));
}

bool condition_holds(std::string_view name, FilterKind kind, const seccomp_data& data) {
  for (const auto& row : policy::kConditions) {
    if (row.name != name || (row.scopes & scope_of(kind)) == 0) continue;
    bool holds = true;
    for (std::size_t i = 0; i < row.count; ++i) {
      holds = holds && (data.args[row.tests[i].arg] & row.tests[i].mask) == row.tests[i].value;
    }
    if (holds) return true;
  }
  return false;
}

std::uint32_t expected(const SyscallRow& row, FilterKind kind, const seccomp_data& data) {
  switch (kind == FilterKind::kWorker ? row.worker : row.script) {
    case SyscallVerdict::kAllow: return kAllow;
    case SyscallVerdict::kDeny: return refusal(kind);
    case SyscallVerdict::kNoSys: return kUnknown;
    case SyscallVerdict::kFullOnly: return facts_of(kind).level == SandboxLevel::kFull ? kAllow : refusal(kind);
    case SyscallVerdict::kConditional: return condition_holds(row.name, kind, data) ? kAllow : refusal(kind);
  }
  return 0;
}

seccomp_data call(int number, std::uint64_t first = 0, std::uint64_t second = 0, std::uint64_t third = 0) {
  return {number, seccomp_arch_native(), 0, {first, second, third, 0, 0, 0}};
}

// Values that conditions name for an argument of a call, their neighbours, and such with dirt in the upper half.
std::set<std::uint64_t> telling_values(std::string_view name, int arg) {
  std::set<std::uint64_t> values{0, 1, 17, 0xffff'ffff, ~std::uint64_t{0}, 0x1'0000'0000, 0x8000'0000};
  for (const auto& row : policy::kConditions) {
    for (std::size_t i = 0; row.name == name && i < row.count; ++i) {
      if (row.tests[i].arg != arg) continue;
      const std::uint64_t value = row.tests[i].value;
      values.insert({value, value + 1, value - 1, value | 0x7'0000'0000, value | 0x80000, value ^ 0x400});
      for (int bit = 0; name == "clone" && bit < 64; ++bit) values.insert(SIGCHLD | (std::uint64_t{1} << bit));
    }
  }
  return values;
}

TEST_CASE("every system call that libseccomp knows on this machine has its row") {
  int known = 0;
  for (int number = 0; number < 1024; ++number) {
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (name == nullptr) continue;
    ++known;
    CAPTURE(name);
    CHECK(policy::has_row(name));
    std::free(name);
  }
  CHECK(known > 250);
}

TEST_CASE("the compiled filters answer as the table says, whatever the arguments") {
  std::size_t compared = 0;
  for (const SyscallRow& row : policy::kRows) {
    const int number = seccomp_syscall_resolve_name(std::string(row.name).c_str());
    if (number < 0) continue;
    for (const std::uint64_t first : telling_values(row.name, 0)) {
      for (const std::uint64_t second : telling_values(row.name, 1)) {
        for (const std::uint64_t third : telling_values(row.name, 2)) {
          const seccomp_data data = call(number, first, second, third);
          for (const FilterKind kind : kKinds) {
            ++compared;
            if (evaluate(filter_of(kind), data) == expected(row, kind, data)) continue;
            FAIL_CHECK(fmt::format("{}({:#x}, {:#x}, {:#x}) under filter {}", row.name, first, second, third,
                                   static_cast<int>(kind)));
          }
        }
      }
    }
  }
  CHECK(compared > 100'000);
}

TEST_CASE("calls without a row do not exist, and other architectures' calls end the process") {
  for (const FilterKind kind : kKinds) {
    CHECK(evaluate(filter_of(kind), call(400)) == kUnknown);  // unassigned for good: between two ranges
    CHECK(evaluate(filter_of(kind), call(599)) == kUnknown);
    CHECK(evaluate(filter_of(kind), call(SYS_getpid)) == kAllow);
    seccomp_data foreign = call(SYS_getpid);
    for (const auto architecture : std::initializer_list<std::uint32_t>{AUDIT_ARCH_I386, AUDIT_ARCH_S390X}) {
      foreign.arch = architecture;
      CHECK(evaluate(filter_of(kind), foreign) == SECCOMP_RET_KILL_PROCESS);
    }
#ifdef __x86_64__
    CHECK(evaluate(filter_of(kind), call(0x4000'0000 | SYS_getpid)) == SECCOMP_RET_KILL_PROCESS);  // x32
#endif
  }
}

TEST_CASE("a filter with a listener differs from one without in how it refuses, and in nothing else") {
  for (const FilterKind kind : {FilterKind::kScriptFull, FilterKind::kScriptReduced}) {
    const Filter asking = script_filter(facts_of(kind), Refusal::kByListener);
    const Filter& refusing = filter_of(kind);
    CHECK(asking.notifies);
    CHECK(!refusing.notifies);
    REQUIRE(asking.program.size() == refusing.program.size());
    int changed = 0;
    for (std::size_t at = 0; at < asking.program.size(); ++at) {
      const sock_filter &one = refusing.program[at], &other = asking.program[at];
      const bool refuses = one.code == (BPF_RET | BPF_K) && one.k == refusal(kind);
      changed += refuses ? 1 : 0;
      CHECK(other.k == (refuses ? SECCOMP_RET_USER_NOTIF : one.k));
      CHECK((one.code == other.code && one.jt == other.jt && one.jf == other.jf));
    }
    CHECK(changed > 0);
  }
  CHECK(!worker_filter().notifies);  // one listener for a process
}

TEST_CASE("system calls have names") {
  CHECK(syscall_name(SYS_ptrace) == "ptrace");
  CHECK(syscall_name(700) == "syscall 700");
}

// ---- the kernel

// "0" or the name of the error.
std::string outcome(long answer) { return answer == -1 ? strerrorname_np(sys::last_errno()) : "0"; }

struct Probe {
  std::string what;
  long (*attempt)();
  const char* script;   // the answer under the full level's filter
  const char* worker;   // under the worker's alone
  const char* outside;  // as root, without a filter; nullptr: depends on the machine, but neither EPERM nor ENOSYS
};

long fork_with(unsigned long flags) {
  const long pid = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0) ::_exit(0);
  if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
  return pid;
}
long send_itself(long (*call)(iovec*, iovec*)) {
  char from[4] = "abc", to[4] = {};
  iovec local{to, 3}, remote{from, 3};
  return call(&local, &remote);
}

const Probe kProbes[] = {
    {"ptrace", [] { return ::syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }, "EPERM", "ENOSYS", "0"},
    {"process_vm_readv", [] { return send_itself([](iovec* local, iovec* remote) {
       return static_cast<long>(::process_vm_readv(::getpid(), local, 1, remote, 1, 0)); }); }, "EPERM", "ENOSYS", "0"},
    {"unshare", [] { return static_cast<long>(::unshare(CLONE_NEWNS)); }, "EPERM", "0", "0"},
    {"unshare of a user namespace", [] { return static_cast<long>(::unshare(CLONE_NEWUSER)); }, "EPERM", "0", "0"},
    {"setns", [] { return static_cast<long>(::setns(-1, 0)); }, "EPERM", "EBADF", "EBADF"},
    {"clone with a user namespace", [] { return fork_with(CLONE_NEWUSER); }, "EPERM", "0", "0"},
    {"clone with a mount namespace", [] { return fork_with(CLONE_NEWNS); }, "EPERM", "0", "0"},
    {"clone", [] { return fork_with(0); }, "0", "0", "0"},
    {"clone3", [] { return ::syscall(SYS_clone3, nullptr, 0); }, "ENOSYS", "EINVAL", "EINVAL"},
    {"mount", [] { return static_cast<long>(::mount("x", "/no/such/place", "tmpfs", 0, nullptr)); },
     "EPERM", "ENOENT", "ENOENT"},
    {"umount2", [] { return static_cast<long>(::umount2("/no/such/place", 0)); }, "EPERM", "ENOENT", "ENOENT"},
    {"open_tree", [] { return ::syscall(SYS_open_tree, -1, "no/such", 0); }, "EPERM", "EBADF", "EBADF"},
    {"move_mount", [] { return ::syscall(SYS_move_mount, -1, "x", -1, "x", ~0U); }, "EPERM", "EINVAL", "EINVAL"},
    {"fsopen", [] { return ::syscall(SYS_fsopen, "nosuchfs", 0); }, "EPERM", "ENODEV", "ENODEV"},
    {"pivot_root", [] { return ::syscall(SYS_pivot_root, "/no/such", "/no/such"); }, "EPERM", "ENOENT", "ENOENT"},
    {"chroot", [] { return static_cast<long>(::chroot("/no/such/place")); }, "EPERM", "ENOENT", "ENOENT"},
    {"bpf", [] { return ::syscall(SYS_bpf, -1, nullptr, 0); }, "EPERM", "ENOSYS", nullptr},
    {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, ~0UL); },
     "EPERM", "ENOSYS", nullptr},
    {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }, "EPERM", "ENOSYS", nullptr},
    {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 0, nullptr); }, "EPERM", "ENOSYS", nullptr},
    {"io_uring_enter", [] { return ::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0); }, "EPERM", "ENOSYS", nullptr},
    // On what is no ring.
    {"io_uring_register for buffers",
     [] { return ::syscall(SYS_io_uring_register, STDERR_FILENO, IORING_REGISTER_BUFFERS, nullptr, 0); },
     "EPERM", "EOPNOTSUPP", "EOPNOTSUPP"},
    {"io_uring_register for files",
     [] { return ::syscall(SYS_io_uring_register, STDERR_FILENO, IORING_REGISTER_FILES, nullptr, 0); },
     "EPERM", "ENOSYS", "EOPNOTSUPP"},
    {"keyctl", [] { return ::syscall(SYS_keyctl, 0, -3, 0); }, "EPERM", "ENOSYS", nullptr},
    {"add_key", [] { return ::syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0); }, "EPERM", "ENOSYS", nullptr},
    {"reboot", [] { return ::syscall(SYS_reboot, 0, 0, 0, nullptr); }, "EPERM", "ENOSYS", "EINVAL"},
    {"swapon", [] { return ::syscall(SYS_swapon, "/no/such/file", 0); }, "EPERM", "ENOSYS", nullptr},
    {"syslog", [] { return ::syscall(SYS_syslog, 10, nullptr, 0); }, "EPERM", "ENOSYS", "0"},
    {"clock_settime", [] { return ::syscall(SYS_clock_settime, 0, nullptr); }, "EPERM", "ENOSYS", "EFAULT"},
    {"settimeofday", [] { return ::syscall(SYS_settimeofday, 1L, 0L); }, "EPERM", "ENOSYS", "EFAULT"},
    {"name_to_handle_at", [] { return ::syscall(SYS_name_to_handle_at, -1, "x", nullptr, nullptr, 0); },
     "EPERM", "ENOSYS", nullptr},
    {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, -1, nullptr, 0); }, "EPERM", "ENOSYS", nullptr},
    {"fanotify_init", [] { return ::syscall(SYS_fanotify_init, ~0U, 0); }, "EPERM", "ENOSYS", "EINVAL"},
    {"migrate_pages", [] { return ::syscall(SYS_migrate_pages, 0, 0, nullptr, nullptr); }, "EPERM", "ENOSYS", nullptr},
    {"kcmp", [] { return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), 0, 0, 0); }, "EPERM", "ENOSYS", nullptr},
    {"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, -1, 0, 0); }, "EPERM", "EBADF", "EBADF"},
    {"pidfd_open", [] { return ::syscall(SYS_pidfd_open, ::getpid(), 0); }, "0", "0", "0"},
    {"seccomp", [] {
       const std::uint32_t action = SECCOMP_RET_ALLOW;
       return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
     }, "EPERM", "0", "0"},
    {"sethostname", [] { return ::syscall(SYS_sethostname, nullptr, -1); }, "EPERM", "EINVAL", "EINVAL"},
    {"personality", [] { return static_cast<long>(::personality(ADDR_NO_RANDOMIZE)); }, "EPERM", "0", "0"},
    {"personality asked", [] { return static_cast<long>(::personality(0xffff'ffff)); }, "0", "0", "0"},
    {"a socket of netlink", [] { return static_cast<long>(::socket(AF_NETLINK, SOCK_RAW, 0)); }, "EPERM", "ENOSYS", "0"},
    {"a socket of packets", [] { return static_cast<long>(::socket(AF_PACKET, SOCK_RAW, 0)); }, "EPERM", "ENOSYS", "0"},
    {"a raw socket", [] { return static_cast<long>(::socket(AF_INET, SOCK_RAW, IPPROTO_TCP)); }, "EPERM", "ENOSYS", "0"},
    {"a TCP socket", [] { return static_cast<long>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP)); },
     "0", "0", "0"},
    {"a Unix socket", [] { return static_cast<long>(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0)); },
     "0", "0", "0"},
    {"a socket pair", [] { int fds[2]; return static_cast<long>(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds)); },
     "0", "0", "0"},
    {"a socket pair of TCP", [] { int fds[2]; return static_cast<long>(::socketpair(AF_INET, SOCK_STREAM, 0, fds)); },
     "EPERM", "ENOSYS", "EOPNOTSUPP"},
    {"TIOCSTI", [] { int fds[2]; return static_cast<long>(::pipe(fds) == 0 ? ::ioctl(fds[0], TIOCSTI, "x") : 0); },
     "EPERM", "ENOTTY", "ENOTTY"},
    {"TIOCSETD", [] { int fds[2]; return static_cast<long>(::pipe(fds) == 0 ? ::ioctl(fds[0], TIOCSETD, fds) : 0); },
     "EPERM", "ENOTTY", "ENOTTY"},
    {"TIOCSTI with a dirty upper half", [] {
       int fds[2];
       return ::pipe(fds) == 0 ? ::syscall(SYS_ioctl, fds[0], 0x1'0000'0000UL | TIOCSTI, "x") : 0;
     }, "EPERM", "ENOTTY", "ENOTTY"},
    {"TCGETS", [] { int fds[2]; return static_cast<long>(::pipe(fds) == 0 ? ::ioctl(fds[0], TCGETS, fds) : 0); },
     "ENOTTY", "ENOTTY", "ENOTTY"},
    {"FIONREAD", [] { int fds[2]; return static_cast<long>(::pipe(fds) == 0 ? ::ioctl(fds[0], FIONREAD, fds) : 0); },
     "0", "0", "0"},
    {"mknod of a device", [] { return static_cast<long>(::mknod("/no/such/place", S_IFCHR, 0x103)); },
     "EPERM", "ENOSYS", "ENOENT"},
    {"mknod of a FIFO", [] { return static_cast<long>(::mknod("/no/such/place", S_IFIFO | 0600, 0)); },
     "ENOENT", "ENOENT", "ENOENT"},
    {"prctl", [] { return static_cast<long>(::prctl(PR_SET_NAME, "name")); }, "0", "0", "0"},
    {"memfd_create", [] { return static_cast<long>(::memfd_create("x", 0)); }, "0", "0", "0"},
    {"a call of tomorrow", [] { return ::syscall(599); }, "ENOSYS", "ENOSYS", "ENOSYS"},
};

TEST_CASE("a script is refused what the table refuses, by root and by others alike") {
  for (const Probe& probe : kProbes) {
    CAPTURE(probe.what);
    for (const test::Identity identity : kIdentities) {
      CHECK(identity([&] {
        return under({FilterKind::kWorker, FilterKind::kScriptFull}, [&] { return outcome(probe.attempt()); });
      }) == probe.script);
    }
  }
}

TEST_CASE("a worker is refused what no part of the service needs") {
  for (const Probe& probe : kProbes) {
    CAPTURE(probe.what);
    // Whatever the filter lets through needs privilege; without it the kernel's answers depend on the machine.
    const bool refused = std::strcmp(probe.worker, "ENOSYS") == 0;
    if (!refused && ::geteuid() != 0) continue;
    CHECK(as_root([&] { return under({FilterKind::kWorker}, [&] { return outcome(probe.attempt()); }); }) ==
          probe.worker);
  }
}

TEST_CASE("outside, the same calls reach the kernel") {
  if (::geteuid() != 0) return;  // without privilege the kernel itself refuses them: nothing to tell apart
  for (const Probe& probe : kProbes) {
    CAPTURE(probe.what);
    const std::string answer = as_root([&] { return outcome(probe.attempt()); });
    if (probe.outside != nullptr) {
      CHECK(answer == probe.outside);
    } else {
      CHECK(answer != "EPERM");
      CHECK(answer != "ENOSYS");
    }
  }
}

TEST_CASE("the reduced level has no network, no System V objects and no say over others' limits") {
  struct Row {
    std::string what;
    long (*attempt)();
    const char* full;
    const char* reduced;
  };
  constexpr int kNobodyElse = 4'000'000;  // a user without processes: the probe must not touch anybody's
  const Row rows[] = {
      {"TCP", [] { return static_cast<long>(::socket(AF_INET, SOCK_STREAM, 0)); }, "0", "EPERM"},
      {"UDP 6", [] { return static_cast<long>(::socket(AF_INET6, SOCK_DGRAM, 0)); }, "0", "EPERM"},
      {"Unix", [] { return static_cast<long>(::socket(AF_UNIX, SOCK_STREAM, 0)); }, "0", "EPERM"},
      {"Unix pair", [] { int pair[2]; return static_cast<long>(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); }, "0", "0"},
      // 19, the lowest: whoever runs this may have been made nice already.
      {"own priority", [] { return ::syscall(SYS_setpriority, 0, 0, 19); }, "0", "0"},
      {"priority by pid", [] { return ::syscall(SYS_setpriority, 0, ::getpid(), 19); }, "0", "EPERM"},
      {"priority of a user", [] { return ::syscall(SYS_setpriority, PRIO_USER, kNobodyElse, 19); }, "ESRCH", "EPERM"},
      {"own scheduler", [] { const int none = 0; return ::syscall(SYS_sched_setscheduler, 0, 0, &none); }, "0", "0"},
      {"scheduler by pid", [] { const int none = 0; return ::syscall(SYS_sched_setscheduler, ::getpid(), 0, &none); }, "0", "EPERM"},
      {"shmget", [] { return ::syscall(SYS_shmget, IPC_PRIVATE, 0, 0); }, "EINVAL", "EPERM"},
      {"mq_open", [] { return ::syscall(SYS_mq_open, "none", 0, 0, nullptr); }, "ENOENT", "EPERM"},
      {"own limits read", [] { rlimit now; return ::syscall(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, &now); }, "0", "0"},
      {"own limits set",
       [] { const rlimit none{0, 0}; return ::syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, nullptr); }, "0", "0"},
      {"limits read by pid",
       [] { rlimit now; return ::syscall(SYS_prlimit64, ::getpid(), RLIMIT_CORE, nullptr, &now); }, "0", "0"},
      {"limits set by pid",
       [] { const rlimit none{0, 0}; return ::syscall(SYS_prlimit64, ::getpid(), RLIMIT_CORE, &none, nullptr); },
       "0", "EPERM"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    for (const test::Identity identity : kIdentities) {
      const auto answer = [&](FilterKind kind) {
        return identity([&] { return under({FilterKind::kWorker, kind}, [&] { return outcome(row.attempt()); }); });
      };
      CHECK(answer(FilterKind::kScriptFull) == row.full);
      CHECK(answer(FilterKind::kScriptReduced) == row.reduced);
    }
  }
}

#ifdef __x86_64__
std::string old_entry() {
  long answer = 20;  // getpid of i386
  asm volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
  return {};
}
std::string x32_entry() {
  (void)::syscall(0x4000'0000 | SYS_getpid);
  return {};
}

TEST_CASE("the other doors of an x86_64 kernel are shut") {
  for (const auto door : {old_entry, x32_entry}) {
    CHECK(ending(door) != "signal SYS");  // outside: works, or is unknown to the kernel
    for (const FilterKind kind : kKinds) CHECK(ending([&] { return under({kind}, door); }) == "signal SYS");
  }
}
#endif

TEST_CASE("a filter that is not a program is refused by name") {
  CHECK(test::in_child([] {
    (void)set_no_new_privileges();
    const auto done = install_filter(Filter{});
    return done ? "installed" : done.error().message;
  }) == "seccomp(SECCOMP_SET_MODE_FILTER): EINVAL");
}

}  // namespace
}  // namespace coderunner
