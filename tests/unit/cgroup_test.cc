// Role: limits, counters and kills of a job's cgroup: version 1 and 2 for real where root may make directories,
// version 2's file protocol against a directory that plays it.
#include "worker/cgroup.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/child.h"
#include "common/sys.h"
#include "support/forked.h"
#include "support/scratch_dir.h"

namespace coderunner {
namespace {

// A cgroup directory of this test's own in a real hierarchy; removed at the end, with what a failed test left in it.
class OwnDirectory {
 public:
  explicit OwnDirectory(const std::string& hierarchy)
      : path_(fmt::format("{}/coderunner-test-{}", hierarchy, ::getpid())) {
    made_ = std::filesystem::exists(hierarchy + "/cgroup.procs") && ::mkdir(path_.c_str(), 0755) == 0;
  }
  ~OwnDirectory() {
    if (!made_) return;
    const Deadline deadline = Deadline::in(Millis(10'000));
    while (::rmdir(path_.c_str()) != 0 && !deadline.passed()) {
      if (const auto cgroup = JobCgroup::open({path_})) (void)cgroup->kill_all();
    }
  }
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  [[nodiscard]] bool made() const { return made_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

// A child in the cgroup that runs `body` once it has entered.
template <class Body> Child start_inside(const JobCgroup& cgroup, Body&& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!cgroup.enter()) ::_exit(99);
    body();
    ::_exit(0);
  }
  return Child::adopt(pid).value();
}
ExitStatus end_of(Child& child) { return child.wait(Deadline::in(Millis(60'000))).value().value(); }

void touch(Bytes bytes) {
  auto* pages = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  if (pages == MAP_FAILED) ::_exit(98);
  for (Bytes at = 0; at < bytes; at += 4096) pages[at] = 1;
}

// ---- version 1

TEST_CASE("version 1: memory is limited, an excess is killed and counted, and the next job starts at zero") {
  const OwnDirectory memory("/sys/fs/cgroup/memory");
  if (!memory.made()) {
    MESSAGE("not run: no version 1 hierarchy that this user may write to");
    return;
  }
  const JobCgroup cgroup = JobCgroup::open({memory.path()}).value();
  CHECK(cgroup.accounts_memory());
  CHECK_FALSE(cgroup.limits_processes());
  CHECK(cgroup.detail() == "memory: cgroup v1; processes: no controller");
  REQUIRE(cgroup.set_limits({.memory_bytes = 32 * kMiB}).has_value());
  CHECK(cgroup.oom_kills().value() == 0);

  Child greedy = start_inside(cgroup, [] { touch(64 * kMiB); });
  CHECK(end_of(greedy).signal == SIGKILL);
  CHECK(cgroup.oom_kills().value() == 1);
  CHECK(cgroup.peak_bytes().value().value() > 30 * kMiB);
  CHECK(cgroup.peak_bytes().value().value() <= 32 * kMiB);

  REQUIRE(cgroup.reset_peak().has_value());
  CHECK(cgroup.peak_bytes().value().value() < 16 * kMiB);
  Child modest = start_inside(cgroup, [] { touch(16 * kMiB); });
  CHECK(end_of(modest).code == 0);
  CHECK(cgroup.oom_kills().value() == 1);
  CHECK(cgroup.peak_bytes().value().value() > 15 * kMiB);
  CHECK(cgroup.current_bytes().value() < 16 * kMiB);

  // The twin of the first child, under a limit that is raised, then lowered again.
  REQUIRE(cgroup.set_limits({.memory_bytes = 128 * kMiB}).has_value());
  Child same = start_inside(cgroup, [] { touch(64 * kMiB); });
  CHECK(end_of(same).code == 0);
  REQUIRE(cgroup.set_limits({.memory_bytes = 32 * kMiB}).has_value());
  Child again = start_inside(cgroup, [] { touch(64 * kMiB); });
  CHECK(end_of(again).signal == SIGKILL);
}

TEST_CASE("version 1: processes are limited, refused forks counted, everyone killed") {
  const OwnDirectory pids("/sys/fs/cgroup/pids");
  if (!pids.made()) {
    MESSAGE("not run: no version 1 hierarchy that this user may write to");
    return;
  }
  const JobCgroup cgroup = JobCgroup::open({pids.path()}).value();
  CHECK(cgroup.limits_processes());
  CHECK_FALSE(cgroup.accounts_memory());
  CHECK(cgroup.oom_kills().value() == 0);
  CHECK(cgroup.current_bytes().value() == 0);
  CHECK_FALSE(cgroup.peak_bytes().value().has_value());
  REQUIRE(cgroup.set_limits({.processes = 4}).has_value());
  CHECK_FALSE(cgroup.populated().value());
  CHECK(cgroup.refused_forks().value() == 0);

  Pipe ready = sys::make_pipe().value();
  Child bomb = start_inside(cgroup, [&] {
    for (int i = 0; i < 10; ++i) {
      const pid_t pid = ::fork();
      if (pid == 0) ::pause();
      if (pid > 0) continue;
      const char mark = sys::last_errno() == EAGAIN ? '!' : '?';
      (void)sys::write_all(ready.write.get(), fmt::format("{}{}", i, mark));
      ::pause();
    }
  });
  char word[2] = {};
  CHECK(sys::read_some(ready.read.get(), word).value() == 2);
  CHECK(std::string(word, 2) == "3!");  // itself and three children
  CHECK(cgroup.refused_forks().value() == 1);
  CHECK(cgroup.populated().value());

  REQUIRE(cgroup.kill_all().has_value());
  ready.write.reset();
  // The pipe ends when the last of them has closed it.
  pollfd entry{ready.read.get(), POLLIN, 0};
  CHECK(sys::poll({&entry, 1}, Deadline::in(Millis(60'000))).value() == 1);
  CHECK(sys::read_some(ready.read.get(), word).value() == 0);
  CHECK(end_of(bomb).signal == SIGKILL);
  const Deadline deadline = Deadline::in(Millis(60'000));
  while (cgroup.populated().value() && !deadline.passed()) {}  // the last steps of those who have closed it
  CHECK_FALSE(cgroup.populated().value());
}

TEST_CASE("version 1: both hierarchies serve one job") {
  const OwnDirectory memory("/sys/fs/cgroup/memory");
  const OwnDirectory pids("/sys/fs/cgroup/pids");
  if (!memory.made() || !pids.made()) {
    MESSAGE("not run: no version 1 hierarchies that this user may write to");
    return;
  }
  const JobCgroup cgroup = JobCgroup::open({memory.path(), pids.path()}).value();
  CHECK(cgroup.detail() == "memory: cgroup v1; processes: cgroup v1");
  REQUIRE(cgroup.set_limits({.memory_bytes = 64 * kMiB, .processes = 1}).has_value());
  Child child = start_inside(cgroup, [] {
    const std::string where = sys::read_file("/proc/self/cgroup").value_or("");
    const std::string name = fmt::format("coderunner-test-{}\n", ::getppid());
    const bool both = where.find(":memory:/" + name) != std::string::npos || where.find(name) != where.rfind(name);
    ::_exit(both && ::fork() < 0 ? 0 : 1);
  });
  CHECK(end_of(child).code == 0);
}

// ---- version 2

TEST_CASE("version 1: a hierarchy that is removed is noticed, whichever it is") {
  for (const bool first : {true, false}) {
    const OwnDirectory memory("/sys/fs/cgroup/memory");
    const OwnDirectory pids("/sys/fs/cgroup/pids");
    if (!memory.made() || !pids.made()) {
      MESSAGE("not run: no version 1 hierarchies that this user may write to");
      return;
    }
    const JobCgroup cgroup = JobCgroup::open({memory.path(), pids.path()}).value();
    CHECK(cgroup.check_there().has_value());
    const OwnDirectory& removed = first ? memory : pids;
    REQUIRE(::rmdir(removed.path().c_str()) == 0);
    const auto there = cgroup.check_there();
    REQUIRE_FALSE(there.has_value());
    CHECK(there.error().fault == Fault::kSandbox);
    CHECK(there.error().message.starts_with(fmt::format("cgroup: {}/", removed.path())));
    CHECK(there.error().message.ends_with(": ENODEV"));
    REQUIRE(::mkdir(removed.path().c_str(), 0755) == 0);  // for its owner to remove
  }
}

TEST_CASE("version 2: processes enter, are seen and killed at once") {
  for (const char* hierarchy : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}) {
    if (!std::filesystem::exists(std::string(hierarchy) + "/cgroup.controllers")) continue;
    const OwnDirectory directory(hierarchy);
    if (!directory.made()) continue;
    const JobCgroup cgroup = JobCgroup::open({directory.path()}).value();
    CHECK_FALSE(cgroup.populated().value());
    Pipe ready = sys::make_pipe().value();
    Child child = start_inside(cgroup, [&] {
      (void)sys::write_all(ready.write.get(), "!");
      ::pause();
    });
    char byte = 0;
    CHECK(sys::read_some(ready.read.get(), {&byte, 1}).value() == 1);
    CHECK(cgroup.populated().value());
    REQUIRE(cgroup.kill_all().has_value());
    CHECK(end_of(child).signal == SIGKILL);
    CHECK_FALSE(cgroup.populated().value());
    return;
  }
  MESSAGE("not run: no version 2 hierarchy that this user may write to");
}

// The files of a directory of version 2 as Linux 6.12 has them; what is written replaces the beginning.
void play_version_2(const test::ScratchDir& directory) {
  const std::pair<const char*, const char*> files[] = {
      {"cgroup.controllers", "memory pids\n"}, {"cgroup.procs", ""},
      {"cgroup.kill", ""},                     {"cgroup.events", "populated 1\nfrozen 0\n"},
      {"memory.max", ""},                      {"memory.swap.max", ""},
      {"memory.oom.group", ""},                {"memory.current", "4096\n"},
      {"memory.peak", "8192\n"},               {"pids.max", ""},
      {"pids.events", "max 5\n"},
      {"memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 1\n"},
  };
  for (const auto& [name, content] : files) directory.make_file(name, content);
}

TEST_CASE("version 2: limits, counters and kills go to the files that the kernel documents") {
  const test::ScratchDir directory;
  play_version_2(directory);
  const JobCgroup cgroup = JobCgroup::open({directory.path()}).value();
  CHECK(cgroup.detail() == "memory: cgroup v2; processes: cgroup v2");
  CHECK(directory.content("memory.oom.group") == "1\n");
  REQUIRE(cgroup.set_limits({.memory_bytes = 1234, .processes = 56}).has_value());
  CHECK(directory.content("memory.max") == "1234\n");
  CHECK(directory.content("memory.swap.max") == "0\n");
  CHECK(directory.content("pids.max") == "56\n");
  CHECK(cgroup.oom_kills().value() == 2);
  CHECK(cgroup.refused_forks().value() == 5);
  CHECK(cgroup.current_bytes().value() == 4096);
  CHECK(cgroup.peak_bytes().value().value() == 8192);
  CHECK(cgroup.populated().value());
  REQUIRE(cgroup.enter().has_value());
  CHECK(directory.content("cgroup.procs") == "0");
  REQUIRE(cgroup.kill_all().has_value());
  CHECK(directory.content("cgroup.kill") == "1\n");
  REQUIRE(cgroup.reset_peak().has_value());
  CHECK(directory.content("memory.peak").starts_with("0\n"));  // any write will do, and a real file answers anew
  CHECK(cgroup.oom_kills().value() == 2);  // read from the beginning each time
}

TEST_CASE("version 2: a kernel that counts less is not taken for a cgroup that has been removed") {
  const test::ScratchDir directory;
  play_version_2(directory);
  REQUIRE(std::filesystem::remove(directory.path() + "/memory.events"));
  directory.make_file("memory.events", "low 0\nhigh 0\nmax 9\noom 3\n");  // before Linux 4.13
  const JobCgroup cgroup = JobCgroup::open({directory.path()}).value();
  CHECK_FALSE(cgroup.oom_kills().has_value());
  CHECK(cgroup.check_there().has_value());
}

TEST_CASE("version 2: a peak that can not be reset tells nothing about one job") {
  CHECK(test::as_plain_user([]() -> std::string {
    const test::ScratchDir directory;
    play_version_2(directory);
    directory.set_mode("memory.peak", 0444);  // before Linux 6.12
    const auto cgroup = JobCgroup::open({directory.path()});
    if (!cgroup) return cgroup.error().message;
    if (const auto done = cgroup->reset_peak(); !done) return done.error().message;
    const auto peak = cgroup->peak_bytes();
    if (!peak) return peak.error().message;
    return peak->has_value() ? "a peak" : "none";
  }) == "none");
}

TEST_CASE("version 2: controllers that are not delegated are no error, and are not claimed") {
  const test::ScratchDir directory;
  directory.make_file("cgroup.controllers", "");
  directory.make_file("cgroup.procs", "");
  directory.make_file("cgroup.events", "populated 0\n");
  const JobCgroup cgroup = JobCgroup::open({directory.path()}).value();
  CHECK_FALSE(cgroup.accounts_memory());
  CHECK_FALSE(cgroup.limits_processes());
  CHECK(cgroup.detail() == "memory: no controller; processes: no controller");
  CHECK(cgroup.set_limits({.memory_bytes = 1, .processes = 1}).has_value());
  CHECK_FALSE(cgroup.populated().value());
}

TEST_CASE("what can not be used is an error of the sandbox, with its cure where there is one") {
  const auto none = JobCgroup::open({});
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().fault == Fault::kSandbox);
  const auto missing = JobCgroup::open({"/no/such/cgroup"});
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().message == "cgroup: /no/such/cgroup/cgroup.procs: ENOENT");
  CHECK(test::as_plain_user([] {
    const test::ScratchDir directory;
    play_version_2(directory);
    directory.set_mode("cgroup.procs", 0444);
    const auto locked = JobCgroup::open({directory.path()});
    return locked ? "opened" : locked.error().message.substr(locked.error().message.rfind('/'));
  }).starts_with("/cgroup.procs: EACCES (add Delegate=yes"));

  const test::ScratchDir directory;
  play_version_2(directory);
  REQUIRE(sys::write_file(directory.path() + "/memory.current", "\n").has_value());
  REQUIRE(sys::write_file(directory.path() + "/memory.events", "low 0\n").has_value());
  const JobCgroup broken = JobCgroup::open({directory.path()}).value();
  CHECK_FALSE(broken.current_bytes().has_value());
  CHECK_FALSE(broken.oom_kills().has_value());
}

}  // namespace
}  // namespace coderunner
