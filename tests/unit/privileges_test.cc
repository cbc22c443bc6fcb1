// Role: what a process gave up is gone, for itself and for what it executes.
#include "worker/privileges.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "common/sys.h"
#include "support/forked.h"

namespace coderunner {
namespace {

using Identity = std::string (*)(const test::Piece&);
constexpr Identity kIdentities[] = {test::in_child, test::as_plain_user};

// The value of a line of /proc/<pid>/status.
std::string field(const std::string& status, const std::string& name) {
  const std::size_t at = status.find("\n" + name + ":\t");
  if (at == std::string::npos) return "no " + name;
  const std::size_t from = at + name.size() + 3;
  return status.substr(from, status.find('\n', from) - from);
}
std::string own_status() { return sys::read_file("/proc/self/status").value_or(""); }
const std::string kNone(16, '0');

// The status of a program that this process executes.
std::string status_after_exec() {
  Pipe pipe = sys::make_pipe().value();
  if (::fork() == 0) {
    ::dup2(pipe.write.get(), STDOUT_FILENO);
    ::execl("/bin/cat", "cat", "/proc/self/status", nullptr);
    ::_exit(9);
  }
  pipe.write.reset();
  return sys::read_all(pipe.read.get(), 1 << 16).value_or("");
}

TEST_CASE("no capability is left, in any set") {
  for (const Identity identity : kIdentities) {
    CHECK(identity([] {
      const auto done = drop_privileges();
      if (!done) return done.error().message;
      const std::string status = own_status();
      for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        if (field(status, set) != kNone) return fmt::format("{} is {}", set, field(status, set));
      }
      return field(status, "NoNewPrivs");
    }) == "1");
  }
}

TEST_CASE("root gets nothing back by executing a program") {
  if (::geteuid() != 0) return;  // nobody else has anything to get back
  const auto effective = [] { return field(status_after_exec(), "CapEff"); };
  CHECK(test::in_child(effective) != kNone);
  CHECK(test::in_child([&] {
    const auto done = drop_privileges();
    return done ? effective() : done.error().message;
  }) == kNone);
  // Each of the two other locks holds by itself.
  CHECK(test::in_child([&] {
    const auto done = lock_securebits();
    return done ? effective() : done.error().message;
  }) == kNone);
  CHECK(test::in_child([&] {
    const auto done = drop_capabilities();
    return done ? field(status_after_exec(), "CapBnd") : done.error().message;
  }) == kNone);
}

TEST_CASE("root can not undo the secure bits") {
  if (::geteuid() != 0) return;  // needs CAP_SETPCAP, which this test is about
  CHECK(test::in_child([] { return fmt::format("{}", ::prctl(PR_SET_SECUREBITS, 0)); }) == "0");
  CHECK(test::in_child([] {
    const auto done = lock_securebits();
    if (!done) return done.error().message;
    return fmt::format("{} {}", ::prctl(PR_SET_SECUREBITS, 0), (::prctl(PR_GET_SECUREBITS) & SECBIT_NOROOT) != 0);
  }) == "-1 true");
}

TEST_CASE("a change of user brings nothing back, and root can not become somebody else") {
  if (::geteuid() != 0) return;
  CHECK(test::in_child([] { return fmt::format("{}", ::setuid(54321)); }) == "0");
  CHECK(test::in_child([] {
    const auto done = drop_privileges();
    return done ? fmt::format("{} {}", ::setuid(54321), ::chroot("/")) : done.error().message;
  }) == "-1 -1");
}

TEST_CASE("steps that need a privilege are no error without it") {
  CHECK(test::as_plain_user([] {
    for (const auto& step : {lock_securebits, drop_capabilities, drop_privileges, drop_privileges}) {
      if (const auto done = step(); !done) return done.error().message;
    }
    return std::string();
  }) == "");
}

TEST_CASE("dumpable, the out-of-memory adjustment and the umask are set") {
  for (const Identity identity : kIdentities) {
    CHECK(identity([] {
      std::string seen;
      for (const Dumpable dumpable : {Dumpable::kNo, Dumpable::kYes}) {
        if (const auto done = set_dumpable(dumpable); !done) return done.error().message;
        seen += fmt::format("{} ", ::prctl(PR_GET_DUMPABLE));
      }
      if (const auto done = set_oom_score_adjustment(kFirstVictim); !done) return done.error().message;
      ::umask(077);
      set_usual_umask();
      return seen + fmt::format("{:03o} ", ::umask(0)) + sys::read_file("/proc/self/oom_score_adj").value_or("?");
    }) == "0 1 022 1000\n");
  }
}

}  // namespace
}  // namespace coderunner
