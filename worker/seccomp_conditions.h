// Role: the conditions under which the conditional calls of seccomp_policy.h are allowed, one a row.
// Callers: seccomp_compiler.cc compiles them; the tests read them.
// Law: a call is allowed when every test of one of its rows holds, else refused with EPERM. A row can only allow; so a
// value that nobody thought of is refused.
#pragma once

#include <asm/termbits.h>  // the kernel's termios2, which TCGETS2 encodes; <termios.h> has another struct termios
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "worker/seccomp_filter.h"
#include "worker/seccomp_policy.h"

namespace coderunner::policy {

// Which filters a condition belongs to, as a set: a bit for the worker's, and one for each kind of script's.
using Scopes = std::uint16_t;
inline constexpr Scopes kWorkerScope = 1;

constexpr Scopes scope_of(ScriptFacts facts) {
  const unsigned kind = (facts.level == SandboxLevel::kReduced ? 1 : 0) |
                        (facts.network == NetworkMode::kHost ? 2 : 0) | (facts.memory == MemoryAccount::kNone ? 4 : 0);
  return static_cast<Scopes>(2U << kind);
}

// All kinds of scripts.
inline constexpr auto kKinds = [] {
  std::array<ScriptFacts, 8> kinds{};
  std::size_t at = 0;
  for (const SandboxLevel level : {SandboxLevel::kFull, SandboxLevel::kReduced})
    for (const NetworkMode network : {NetworkMode::kNone, NetworkMode::kHost})
      for (const MemoryAccount memory : {MemoryAccount::kCgroup, MemoryAccount::kNone})
        kinds.at(at++) = {level, network, memory};
  return kinds;
}();

// Of all kinds of scripts those that `holds` is true for.
template <class Predicate>
constexpr Scopes scripts_where(Predicate holds) {
  Scopes scopes = 0;
  for (const ScriptFacts& facts : kKinds)
    if (holds(facts)) scopes |= scope_of(facts);
  return scopes;
}

inline constexpr Scopes kScripts = scripts_where([](const ScriptFacts&) { return true; });
inline constexpr Scopes kEvery = kWorkerScope | kScripts;
inline constexpr Scopes kFullScope = scripts_where([](const ScriptFacts& f) { return f.level == SandboxLevel::kFull; });
inline constexpr Scopes kReducedScope = kScripts & ~kFullScope;
inline constexpr Scopes kHostNetwork = scripts_where([](const ScriptFacts& f) {
  return f.network == NetworkMode::kHost;
});
// Where every page that is held is charged to the job, however it is held.
inline constexpr Scopes kCharged = scripts_where([](const ScriptFacts& f) {
  return f.memory == MemoryAccount::kCgroup;
});

// (argument & mask) == value. The kernel ignores the upper half of an int argument, so the mask must, too.
struct ArgTest {
  std::uint8_t arg;
  std::uint64_t mask;
  std::uint64_t value;
};

struct ConditionRow {
  std::string_view name;
  Scopes scopes;
  std::uint8_t count;  // tests in use; none: always
  std::array<ArgTest, 3> tests;
  std::string_view why;
};

inline constexpr std::uint64_t kInt = 0xffff'ffff;
inline constexpr std::uint64_t kPointer = ~std::uint64_t{0};
inline constexpr std::uint64_t kSocketType = 0xf;  // SOCK_TYPE_MASK (include/linux/net.h); above it SOCK_CLOEXEC & co.
// CLONE_NEWTIME (0x80) shares clone(2)'s signal byte, where no signal has that bit.
inline constexpr std::uint64_t kNamespaceFlags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                                 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;

constexpr ConditionRow always(std::string_view name, Scopes scopes, std::string_view why) {
  return {name, scopes, 0, {}, why};
}
constexpr ConditionRow when(std::string_view name, Scopes scopes, ArgTest test, std::string_view why) {
  return {name, scopes, 1, {test}, why};
}
constexpr ConditionRow request(std::uint64_t number, std::string_view why) {
  return when("ioctl", kScripts, {1, kInt, number}, why);
}
constexpr ConditionRow unix_pair(std::uint64_t type) {
  return {"socketpair", kEvery, 2, {{{0, kInt, AF_UNIX}, {1, kSocketType, type}}}, "between processes of the job"};
}
// Not at the reduced level: there a path leads to the host's servers, and no argument of connect(2) that a filter can
// see tells them from the job's own. Nor on the host's network: to its namespace belong the names of abstract sockets.
constexpr ConditionRow unix_socket(std::uint64_t type) {
  return {"socket", kWorkerScope | (kFullScope & ~kHostNetwork), 2, {{{0, kInt, AF_UNIX}, {1, kSocketType, type}}},
          "servers of the job's own"};
}
// At the reduced level other processes of the same user can be named; 0 is the caller.
constexpr ConditionRow own(std::string_view name, std::uint8_t argument) {
  return when(name, kReducedScope, {argument, kInt, 0}, "its own scheduling");
}
constexpr ConditionRow namespaced(std::string_view name) {
  return always(name, kFullScope, "sees its own pid namespace only");
}
// Protocols by number: others (SCTP, DCCP, MPTCP, UDP-Lite) would load kernel modules.
constexpr ConditionRow inet_socket(std::uint64_t family, std::uint64_t type, std::uint64_t protocol) {
  return {"socket", kWorkerScope | kFullScope | kHostNetwork, 3,
          {{{0, kInt, family}, {1, kSocketType, type}, {2, kInt, protocol}}},
          "an empty network, or one that is allowed"};
}

inline constexpr auto kConditions = std::to_array<ConditionRow>({
    when("clone", kScripts, {0, kNamespaceFlags | CLONE_PARENT, 0},
         "a new user namespace would hand out capabilities; a sibling of a warm runner would be its template's child"),

    when("io_uring_register", kWorkerScope, {1, kInt, IORING_REGISTER_BUFFERS}, "pages that fork(2) copies at once"),
    when("io_uring_register", kWorkerScope, {1, kInt, IORING_UNREGISTER_BUFFERS}, "the same, let go"),

    // Not listed, so refused: TIOCSTI and TIOCLINUX (type into a terminal), TIOCSETD (line disciplines), TIOCCONS.
    request(FIOASYNC, "any descriptor"),
    request(FIOCLEX, "any descriptor"),
    request(FIONBIO, "any descriptor"),
    request(FIONCLEX, "any descriptor"),
    request(FIONREAD, "pipes, sockets, inotify, terminals"),
    request(FIOQSIZE, "size of a file"),
    request(FICLONE, "cp --reflink"),
    request(FICLONERANGE, "cp --reflink"),
    request(FS_IOC_GETFLAGS, "lsattr, tar, cp"),
    request(TCGETS, "isatty()"),
    request(TCGETS2, "isatty() of newer C libraries"),
    request(TCSETS, "tty.setraw() and the like"),
    request(TCSETSW, "tty.setraw() and the like"),
    request(TCSETSF, "tty.setraw() and the like"),
    request(TCSETS2, "the same of newer C libraries"),
    request(TCSETSW2, "the same of newer C libraries"),
    request(TCSETSF2, "the same of newer C libraries"),
    request(TCFLSH, "tcflush()"),
    request(TCSBRK, "tcdrain()"),
    request(TCXONC, "tcflow()"),
    request(TIOCGPTN, "openpty()"),
    request(TIOCSPTLCK, "openpty()"),
    request(TIOCGPTPEER, "openpty()"),
    request(TIOCSCTTY, "login_tty(): a pseudo terminal of its own"),
    request(TIOCNOTTY, "gives its terminal up"),
    request(TIOCGPGRP, "job control"),
    request(TIOCSPGRP, "job control"),
    request(TIOCGSID, "job control"),
    request(TIOCGWINSZ, "os.get_terminal_size()"),
    request(TIOCSWINSZ, "size of its pseudo terminal"),
    request(TIOCOUTQ, "bytes not yet sent"),
    request(SIOCATMARK, "out-of-band data"),
    request(SIOCGIFCONF, "lists the interfaces of its network namespace"),
    request(SIOCGIFNAME, "socket.if_indextoname()"),
    request(SIOCGIFINDEX, "socket.if_nametoindex()"),
    request(SIOCGIFFLAGS, "facts about an interface"),
    request(SIOCGIFADDR, "facts about an interface"),
    request(SIOCGIFNETMASK, "facts about an interface"),
    request(SIOCGIFBRDADDR, "facts about an interface"),
    request(SIOCGIFMTU, "facts about an interface"),
    request(SIOCGIFHWADDR, "uuid.getnode()"),

    namespaced("ioprio_set"),
    {"ioprio_set", kReducedScope, 2, {{{0, kInt, 1}, {1, kInt, 0}}}, "its own (IOPRIO_WHO_PROCESS)"},

    always("memfd_create", kCharged, "its pages need no process that maps them: only a cgroup sees them"),

    when("mknod", kEvery, {1, S_IFMT, S_IFIFO}, "os.mkfifo()"),
    when("mknod", kEvery, {1, S_IFMT, S_IFREG}, "a regular file"),
    when("mknod", kEvery, {1, S_IFMT, 0}, "a regular file: mknod(2) reads type 0 so"),
    when("mknodat", kEvery, {2, S_IFMT, S_IFIFO}, "os.mkfifo()"),
    when("mknodat", kEvery, {2, S_IFMT, S_IFREG}, "a regular file"),
    when("mknodat", kEvery, {2, S_IFMT, 0}, "a regular file: mknod(2) reads type 0 so"),

    when("personality", kScripts, {0, kInt, 0}, "the native domain"),
    when("personality", kScripts, {0, kInt, kInt}, "asks, changes nothing"),

    namespaced("prlimit64"),
    when("prlimit64", kReducedScope, {0, kInt, 0}, "its own limits"),
    when("prlimit64", kReducedScope, {2, kPointer, 0}, "reads limits, sets none"),

    namespaced("sched_setaffinity"),
    own("sched_setaffinity", 0),
    namespaced("sched_setattr"),
    own("sched_setattr", 0),
    namespaced("sched_setparam"),
    own("sched_setparam", 0),
    namespaced("sched_setscheduler"),
    own("sched_setscheduler", 0),

    namespaced("setpriority"),
    {"setpriority", kReducedScope, 2, {{{0, kInt, 0}, {1, kInt, 0}}}, "its own nice value (PRIO_PROCESS)"},

    always("shmget", kFullScope & kCharged, "its pages need no process that maps them: only a cgroup sees them"),

    inet_socket(AF_INET, SOCK_STREAM, 0),
    inet_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP),
    inet_socket(AF_INET, SOCK_DGRAM, 0),
    inet_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    inet_socket(AF_INET6, SOCK_STREAM, 0),
    inet_socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    inet_socket(AF_INET6, SOCK_DGRAM, 0),
    inet_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    unix_socket(SOCK_STREAM),
    unix_socket(SOCK_DGRAM),
    unix_socket(SOCK_SEQPACKET),
    unix_pair(SOCK_STREAM),
    unix_pair(SOCK_DGRAM),
    unix_pair(SOCK_SEQPACKET),
});

// ---- the compile-time checks

constexpr bool has_condition(std::string_view name, Scopes scope) {
  return std::ranges::any_of(kConditions, [&](const auto& row) { return row.name == name && (row.scopes & scope); });
}
constexpr bool conditions_fit(const SyscallRow& row) {
  const bool script = row.script == C, worker = row.worker == C;
  return has_condition(row.name, kFullScope) == script && (script || !has_condition(row.name, kReducedScope)) &&
         has_condition(row.name, kWorkerScope) == worker;
}
constexpr bool tests_fit(const ConditionRow& row) {
  return row.count <= row.tests.size() && has_row(row.name) && !row.why.empty() &&
         std::ranges::all_of(row.tests, [](const ArgTest& t) { return t.arg < 6 && (t.value & ~t.mask) == 0; });
}
static_assert(std::ranges::all_of(kRows, conditions_fit), "conditions for the conditional calls, and for no others");
static_assert(std::ranges::is_sorted(kConditions, {}, &ConditionRow::name), "conditions are sorted by call");
static_assert(std::ranges::all_of(kConditions, tests_fit), "tests that can hold, of listed calls, with a reason");

}  // namespace coderunner::policy
