// Role: the rows are what they should be, and each one bites.
#include "worker/rlimits.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>

#include "common/sys.h"
#include "support/forked.h"

namespace coderunner {
namespace {

const RlimitRow* find(const RlimitPlan& plan, std::string_view name) {
  const auto row = std::ranges::find(plan, name, &RlimitRow::name);
  return row == plan.end() ? nullptr : &*row;
}
std::string apply(const RlimitPlan& plan) {
  const auto done = apply_rlimits(plan);
  return done ? "" : done.error().message;
}
std::string outcome(long answer) { return answer == -1 ? strerrorname_np(sys::last_errno()) : "0"; }

TEST_CASE("address space is limited only where no cgroup accounts memory, far above the limit") {
  const Limits limits;
  CHECK(find(plan_rlimits(limits, {}), "as") == nullptr);
  const RlimitPlan plan = plan_rlimits(limits, {.memory = MemoryAccount::kNone});
  REQUIRE(find(plan, "as") != nullptr);
  CHECK(find(plan, "as")->hard == 10 * kGiB);  // 4 x 1.5 GiB + 4 GiB
}

TEST_CASE("the plan follows the limits and the level") {
  Limits limits;
  limits.descriptors = 333;
  limits.processes = 44;
  limits.scratch_bytes = 5 * kMiB;
  const RlimitPlan full = plan_rlimits(limits, {});
  const RlimitPlan reduced = plan_rlimits(limits, {.level = SandboxLevel::kReduced, .other_tasks = 100});
  CHECK(find(full, "nofile")->hard == 333);
  CHECK(find(full, "fsize")->hard == 5 * kMiB);
  CHECK(find(full, "nproc")->hard == 44);
  CHECK(find(reduced, "nproc")->hard == 144);
  CHECK(find(full, "msgqueue")->hard > 0);
  CHECK(find(reduced, "msgqueue")->hard == 0);
  for (const char* none : {"core", "nice", "rtprio"}) {  // whatever the service itself may have
    CAPTURE(none);
    REQUIRE(find(full, none) != nullptr);
    CHECK(find(full, none)->hard == 0);
  }
  for (const RlimitRow& row : full) {
    CAPTURE(row.name);
    CHECK(row.soft <= row.hard);
    CHECK_FALSE(row.why.empty());
  }
}

struct Bite {
  std::string what;
  RlimitPlan plan;
  std::string (*attempt)();
  std::string inside;
};

std::string open_many() {
  for (int i = 0; i < 64; ++i) {
    if (::open("/dev/null", O_RDONLY) < 0) return outcome(-1);
  }
  return "0";
}
std::string write_much() {
  const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ::signal(SIGXFSZ, SIG_IGN);
  return outcome(::ftruncate(file.get(), 1 << 20));
}
std::string map_much() {
  void* pages = ::mmap(nullptr, 1 * kGiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return outcome(pages == MAP_FAILED ? -1 : 0);
}
std::string lock_much() {
  void* pages = ::mmap(nullptr, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return outcome(::syscall(SYS_mlock, pages, 1 << 20));  // sanitizers make the wrapper do nothing
}

TEST_CASE("each limit is felt, and its twin without is not") {
  Limits limits;
  limits.descriptors = 32;
  limits.scratch_bytes = 64 * kKiB;
  const RlimitPlan plan = plan_rlimits(limits, {});
  const auto only = [&](std::string_view name) { return RlimitPlan{*find(plan, name)}; };
  const Bite bites[] = {
      {"descriptors", only("nofile"), open_many, "EMFILE"},
      {"file size", only("fsize"), write_much, "EFBIG"},
      {"address space", {{RLIMIT_AS, "as", 512 * kMiB, 512 * kMiB, "as a test"}}, map_much, "ENOMEM"},
      {"locked memory", only("memlock"), lock_much, "ENOMEM"},
  };
  for (const Bite& bite : bites) {
    CAPTURE(bite.what);
    CHECK(test::as_plain_user([&] { return bite.attempt(); }) == "0");
    CHECK(test::as_plain_user([&] {
      const std::string trouble = apply(bite.plan);
      return trouble.empty() ? bite.attempt() : trouble;
    }) == bite.inside);
  }
}

TEST_CASE("an unprivileged process applies the whole plan, and a lower limit that it had stays") {
  CHECK(test::as_plain_user([] {
    const rlimit low{20, 20};
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return outcome(-1);
    const RlimitFacts facts{SandboxLevel::kReduced, MemoryAccount::kNone, 9};
    const std::string trouble = apply(plan_rlimits(Limits{}, facts));
    if (!trouble.empty()) return trouble;
    rlimit files{}, core{}, wall{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    ::getrlimit(RLIMIT_CORE, &core);
    ::getrlimit(RLIMIT_AS, &wall);
    return fmt::format("{} {} {}", files.rlim_max, core.rlim_max, wall.rlim_max == 10 * kGiB);
  }) == "20 0 true");
}

// As a user whom nobody else on the machine is, so that its tasks are the test's alone.
std::string as_lone_user(const test::Piece& piece) {
  return test::in_child([&] {
    const auto user = static_cast<uid_t>(1'000'000'000 + ::getpid());
    return ::setuid(user) == 0 ? piece() : sys::last_error("setuid").message;
  });
}

TEST_CASE("a user's tasks are counted, threads and those that hide included") {
  if (::geteuid() != 0) return;  // no lone user without root
  CHECK(as_lone_user([]() -> std::string {
    const auto before = count_user_tasks(::getuid());
    if (!before) return before.error().message;
    if (*before != 1) return fmt::format("{} tasks, not one", *before);
    Pipe gate = sys::make_pipe().value();
    Pipe ready = sys::make_pipe().value();
    const pid_t pid = ::fork();
    if (pid == 0) {
      gate.write.reset();
      ::prctl(PR_SET_DUMPABLE, 0);  // its folder in /proc is root's now
      std::jthread second([&] {
        char byte = 0;
        (void)sys::read_some(gate.read.get(), {&byte, 1});
      });
      (void)sys::write_all(ready.write.get(), "!");
      second.join();
      ::_exit(0);
    }
    char byte = 0;
    (void)sys::read_some(ready.read.get(), {&byte, 1});
    const auto after = count_user_tasks(::getuid());
    gate.write.reset();
    ::waitpid(pid, nullptr, 0);
    return after && *after == 3 ? "" : "the hidden child and its thread are not counted";
  }) == "");
}

TEST_CASE("where a whole user is counted, the job gets its number on top of the user's tasks") {
  if (::geteuid() != 0) return;  // no lone user without root
  CHECK(as_lone_user([]() -> std::string {
    Limits limits;
    limits.processes = 3;
    const auto others = count_user_tasks(::getuid());
    if (!others) return others.error().message;
    const RlimitFacts facts{SandboxLevel::kReduced, MemoryAccount::kCgroup, *others};
    if (const std::string trouble = apply(plan_rlimits(limits, facts)); !trouble.empty()) return trouble;
    Pipe gate = sys::make_pipe().value();
    int children = 0;
    std::string end;
    for (; children < 50; ++children) {
      const pid_t pid = ::fork();
      if (pid < 0) end = outcome(-1);
      if (pid < 0) break;
      if (pid > 0) continue;
      gate.write.reset();
      char byte = 0;
      (void)sys::read_some(gate.read.get(), {&byte, 1});
      ::_exit(0);
    }
    gate.write.reset();
    while (::wait(nullptr) > 0) {}
    return fmt::format("{} {}", children, end);
  }) == "3 EAGAIN");
}

TEST_CASE("a namespace's own count is never taken for granted at the reduced level") {
  CHECK_FALSE(nproc_is_per_namespace(SandboxLevel::kReduced));
}

}  // namespace
}  // namespace coderunner
