// Role: tests of worker/process_tree.h.
#include "worker/process_tree.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "common/child.h"
#include "common/sys.h"
#include "tests/support/forked.h"

namespace coderunner {
namespace {

// What a hostile process does: it says a byte to `ready` once it has taken its shape, and never ends by itself.
using Hostile = void (*)(int ready);

[[noreturn]] void linger() {
  for (;;) ::pause();
}

[[noreturn]] void announce_and_linger(int ready) {
  (void)!::write(ready, "x", 1);
  linger();
}

pid_t spawn(Hostile what, int ready) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  what(ready);
  ::_exit(0);
}

void block_everything(int ready) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  announce_and_linger(ready);
}

void ignore_everything(int ready) {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
  announce_and_linger(ready);
}

void daemonize(int ready) {
  if (::fork() != 0) ::_exit(0);
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  announce_and_linger(ready);
}

void stop_itself(int ready) {
  (void)!::write(ready, "x", 1);
  for (;;) ::raise(SIGSTOP);
}

void leave_a_thread(int ready) {
  static int to;
  to = ready;
  pthread_t thread;
  ::pthread_create(&thread, nullptr, [](void*) -> void* {
    // Until the leader is a zombie: then /proc shows the process as one.
    const auto proc = ProcDir::open();
    while (proc->look_up(::getpid()).value_or(ProcessInfo{}).state != 'Z') ::sched_yield();
    announce_and_linger(to);
  }, nullptr);
  ::syscall(SYS_exit, 0);  // this thread alone
}

void reap_below(int ready) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  for (int i = 0; i < 3; ++i) spawn(daemonize, ready);
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  linger();
}

void leave_zombies(int ready) {
  for (int i = 0; i < 5; ++i)
    if (::fork() == 0) ::_exit(0);
  announce_and_linger(ready);
}

void fork_bomb(int ready) {
  (void)!::write(ready, "x", 1);
  for (;;) ::fork();
}

// One process at a time: each forks its successor and ends.
void hop(int ready) {
  (void)!::write(ready, "x", 1);
  for (;;) {
    if (::fork() > 0) ::_exit(0);
  }
}

void wake_others(int ready) {
  const pid_t group = ::getpid();
  ::setpgid(0, group);
  for (int i = 0; i < 4; ++i) {
    if (::fork() != 0) continue;
    for (;;) ::kill(-group, SIGCONT);
  }
  (void)!::write(ready, "x", 1);
  for (;;) ::kill(-group, SIGCONT);
}

constexpr std::uint64_t kUnseen = ~std::uint64_t{0};

// Processes and threads alive below this process, without what belongs to `except`.
std::uint64_t tasks_below(std::span<const pid_t> except = {}) {
  const auto proc = ProcDir::open();
  const auto below = proc ? descendants(*proc, ::getpid()) : std::unexpected(proc.error());
  if (!below) return kUnseen;
  std::uint64_t tasks = 0;
  for (const ProcessInfo& process : *below)
    if (!process.ended() && !belongs_to(process, except)) tasks += process.threads;
  return tasks;
}

// Spawns what the row says below a subreaper without root's rights and with room for 60 more tasks, kills, and looks
// for survivors in three ways: no children, no tasks in /proc, and the end of a pipe that all of them hold.
std::string kill_all(Hostile what, int count, std::uint64_t at_least) {
  return test::as_plain_user([=]() -> std::string {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const rlim_t most = test::tasks_of_user() + 60;  // asked once: what the row before has killed is still going
    const rlimit room{most, most};
    if (::setrlimit(RLIMIT_NPROC, &room) != 0) return "setrlimit";
    auto ready = sys::make_pipe();
    if (!ready) return ready.error().message;
    for (int i = 0; i < count; ++i) spawn(what, ready->write.get());
    for (int i = 0; i < count; ++i) {
      char byte = 0;
      if (::read(ready->read.get(), &byte, 1) != 1) return "not ready";
    }
    // Who has said that it is ready may not have forked yet.
    for (const Deadline late = Deadline::in(Millis(10'000)); tasks_below() < at_least && !late.passed();)
      ::sched_yield();
    const auto killed = kill_descendants({});
    if (!killed) return killed.error().message;
    if (*killed < at_least) return fmt::format("{} killed", *killed);
    if (::waitpid(-1, nullptr, WNOHANG) != -1) return "a child is left";
    if (tasks_below() != 0) return "a task is left";
    ready->write.reset();
    for (;;) {
      pollfd entry{ready->read.get(), POLLIN, 0};
      if (sys::poll(std::span(&entry, 1), Deadline::in(Millis(5000))).value_or(0) == 0) return "the pipe is held";
      char buffer[64];
      if (::read(ready->read.get(), buffer, sizeof buffer) == 0) return "";
    }
  });
}

TEST_CASE("no descendant survives, whatever it has done to itself") {
  const struct { std::string what; Hostile hostile; int count; std::uint64_t at_least; } rows[] = {
      {"waits", announce_and_linger, 3, 3},
      {"blocks every signal", block_everything, 1, 1},
      {"ignores every signal", ignore_everything, 1, 1},
      {"double-forked daemon in a session of its own", daemonize, 3, 3},
      {"stopped", stop_itself, 1, 1},
      {"main thread has ended, another runs", leave_a_thread, 1, 1},
      {"subreaper of its own, with daemons", reap_below, 1, 4},
      {"has zombies", leave_zombies, 1, 1},
      {"fork bomb", fork_bomb, 1, 2},
      {"a chain in which each forks and ends", hop, 1, 0},
      {"wakes stopped processes", wake_others, 1, 5},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(kill_all(row.hostile, row.count, row.at_least) == "");
  }
}

TEST_CASE("without children there is nothing to kill") {
  CHECK(test::in_child([]() -> std::string {
          const auto killed = kill_descendants({});
          return killed && *killed == 0 ? "" : "error";
        }) == "");
}

// A parent and its child below this process, both waiting; the child's pid as the parent told it.
struct Family {
  pid_t parent = 0, child = 0;
};

Family spawn_family() {
  auto pipe = sys::make_pipe();
  Family family;
  family.parent = ::fork();
  if (family.parent == 0) {
    ::setsid();
    const pid_t child = ::fork();
    if (child == 0) ::setsid();
    if (child != 0) (void)!::write(pipe->write.get(), &child, sizeof child);
    linger();
  }
  if (::read(pipe->read.get(), &family.child, sizeof family.child) != sizeof family.child) family.child = 0;
  return family;
}

TEST_CASE("a spared session lives, another one below it does not") {
  CHECK(test::in_child([]() -> std::string {
          ::prctl(PR_SET_CHILD_SUBREAPER, 1);
          const Family spared = spawn_family(), other = spawn_family();
          const pid_t keep[] = {spared.parent};
          const auto killed = kill_descendants({.spared = {spared.parent}});
          const auto proc = ProcDir::open();
          const auto kept = proc->look_up(spared.parent), below = proc->look_up(spared.child);
          std::string trouble;
          if (!killed || *killed != 3) trouble += fmt::format("{} killed; ", killed ? *killed : 0);
          if (!kept || kept->ended()) trouble += "the spared one is dead; ";
          if (kept && (kept->state == 'T' || kept->state == 't')) trouble += "the spared one is stopped; ";
          if (!below || below->state != 'Z') trouble += "its child is not a zombie; ";  // its own parent's to reap
          if (proc->look_up(other.parent) || proc->look_up(other.child)) trouble += "the other family is left; ";
          if (tasks_below(keep) != 0) trouble += "tasks are left; ";
          if (!kill_descendants({}) || proc->look_up(spared.parent)) trouble += "the spared one outlives a second call";
          return trouble;
        }) == "");
}

TEST_CASE("who is to lead a spared session is spared before it does") {
  CHECK(test::in_child([]() -> std::string {
          ::prctl(PR_SET_CHILD_SUBREAPER, 1);
          auto ready = sys::make_pipe();
          const pid_t early = spawn(announce_and_linger, ready->write.get());
          char byte = 0;
          if (::read(ready->read.get(), &byte, 1) != 1) return "not started";
          const auto killed = kill_descendants({.spared = {early}});
          const auto kept = ProcDir::open()->look_up(early);
          std::string trouble;
          if (!killed || *killed != 0) trouble += "something is killed; ";
          if (!kept || kept->ended() || kept->state == 'T') trouble += "it does not live; ";
          (void)kill_descendants({});
          return trouble;
        }) == "");
}

TEST_CASE("only descendants are killed") {
  auto ready = sys::make_pipe();
  REQUIRE(ready);
  auto sibling = Child::adopt(spawn(announce_and_linger, ready->write.get()));
  REQUIRE(sibling);
  char byte = 0;
  REQUIRE(::read(ready->read.get(), &byte, 1) == 1);
  CHECK(test::in_child([&]() -> std::string {
          spawn(announce_and_linger, ready->write.get());
          return kill_descendants({}).value_or(0) == 1 ? "" : "not one";
        }) == "");
  const auto status = sibling->wait(Deadline::in(Millis(0)));
  REQUIRE(status);
  CHECK_FALSE(*status);
}

TEST_CASE("who is left at the deadline is counted") {
  CHECK(test::in_child([]() -> std::string {
          ::prctl(PR_SET_CHILD_SUBREAPER, 1);
          spawn_family();
          const auto late = kill_descendants({.deadline = Deadline::in(Millis(0))});
          const std::string message = late ? "no error" : late.error().message;
          const auto killed = kill_descendants({});
          if (!killed || *killed != 2) return "the second call did not kill both";
          return message == "2 processes of the job outlive SIGKILL" ? "" : message;
        }) == "");
}

TEST_CASE("descendants come with parents first, tasks with their threads") {
  CHECK(test::in_child([]() -> std::string {
          ::prctl(PR_SET_CHILD_SUBREAPER, 1);
          const Family family = spawn_family();
          auto ready = sys::make_pipe();
          const pid_t threaded = spawn(leave_a_thread, ready->write.get());
          char byte = 0;
          if (::read(ready->read.get(), &byte, 1) != 1) return "not ready";
          const auto proc = ProcDir::open();
          const auto below = descendants(*proc, ::getpid());
          const auto of_parent = descendants(*proc, family.parent);
          const auto tasks = tasks_below();
          const pid_t except[] = {family.parent};
          const auto fewer = tasks_below(except);
          const auto leader = proc->look_up(threaded);
          if (!kill_descendants({})) return "kill";
          if (!below || below->size() != 3) return "not three";
          const auto at = [&](pid_t pid) { return std::ranges::find(*below, pid, &ProcessInfo::pid) - below->begin(); };
          if (!(at(family.parent) < at(family.child) && at(family.child) < 3)) return "wrong order";
          if (!of_parent || of_parent->size() != 1 || of_parent->front().pid != family.child) return "wrong child";
          if (!leader || leader->state != 'Z' || leader->ended()) return "a leader without its threads is not the end";
          // Parent, child, and of the third the zombie leader and its thread.
          return tasks == 4u && fewer == 3u ? "" : fmt::format("{} tasks", tasks);
        }) == "");
}

}  // namespace
}  // namespace coderunner
