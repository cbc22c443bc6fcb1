// Role: tests of worker/memory_watch.h.
#include "worker/memory_watch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <functional>

#include "common/sys.h"
#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"

namespace coderunner {
namespace {

constexpr Bytes kPiece = 64 * kMiB;
constexpr Bytes kNoise = 12 * kMiB;  // what a process takes besides: stacks, page tables' growth, counters that lag

void* map(int flags, int fd = -1) { return ::mmap(nullptr, kPiece, PROT_READ | PROT_WRITE, flags, fd, 0); }
void touch(void* memory) {
  for (Bytes at = 0; at < kPiece; at += 4096) static_cast<volatile char*>(memory)[at] = 1;
}
// Forks a process that does `what` and stays; returns when it has written to `told`, which it does after `what` at the
// latest.
int told = -1;
void fork_and_wait(int count, const std::function<void()>& what) {
  auto ready = sys::make_pipe();
  told = ready->write.get();
  for (int i = 0; i < count; ++i) {
    if (::fork() == 0) {
      what();
      (void)!::write(told, "x", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    (void)!::read(ready->read.get(), &byte, 1);
  }
}

// What a process does with kPiece between being measured twice.
using Use = std::function<void()>;

struct Growth {
  std::int64_t upper = 0, exact = 0;
  std::int64_t before = 0;  // the upper bound of the process alone: what each fork of it shares besides
};

// The growth of a tree by what `use` does in it; an error as text.
std::string measure(const Use& use, Growth& growth) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto go = sys::make_pipe(), done = sys::make_pipe();
  if (::fork() == 0) {
    char byte = 0;
    (void)!::write(done->write.get(), "x", 1);
    (void)!::read(go->read.get(), &byte, 1);
    use();
    (void)!::write(done->write.get(), "x", 1);
    for (;;) ::pause();
  }
  done->write.reset();  // so that its end is seen, should it end
  const auto proc = ProcDir::open();
  Growth seen[2];
  for (Growth& now : seen) {
    char byte = 0;
    if (::read(done->read.get(), &byte, 1) != 1) return "the process ended";
    const auto upper = tree_memory(*proc, ::getpid(), {}, MemoryCount::kUpperBound);
    const auto exact = tree_memory(*proc, ::getpid(), {}, MemoryCount::kExact);
    if (!upper || !exact) return "not measured";
    now = {static_cast<std::int64_t>(*upper), static_cast<std::int64_t>(*exact), 0};
    (void)!::write(go->write.get(), "x", 1);
  }
  growth = {seen[1].upper - seen[0].upper, seen[1].exact - seen[0].exact, seen[0].upper};
  const auto killed = kill_descendants({});
  return killed ? "" : killed.error().message;
}

// "": that many pieces, and for each process no more than noise and what it had before.
std::string judge(const char* what, std::int64_t bytes, int pieces, int processes, std::int64_t before) {
  constexpr auto kOne = static_cast<std::int64_t>(kPiece), kLittle = static_cast<std::int64_t>(kNoise);
  const std::int64_t low = pieces * kOne - kLittle;
  const std::int64_t high = pieces * kOne + processes * (kLittle + before);
  return bytes >= low && bytes <= high ? "" : fmt::format("{} grew by {} bytes; ", what, bytes);
}

TEST_CASE("memory counts when it is touched, once for each holder in the bound, once for all in the exact figure") {
  const auto none = [] { map(MAP_PRIVATE | MAP_ANONYMOUS); };
  const auto anonymous = [] { touch(map(MAP_PRIVATE | MAP_ANONYMOUS)); };
  const auto shared = [] { touch(map(MAP_SHARED | MAP_ANONYMOUS)); };
  const auto forked = [] { touch(map(MAP_PRIVATE | MAP_ANONYMOUS)); fork_and_wait(3, [] {}); };
  const auto shared_by_two = [] {
    void* const memory = map(MAP_SHARED | MAP_ANONYMOUS);
    touch(memory);
    fork_and_wait(1, [&] { touch(memory); });
  };
  const auto hidden_leader = [] {
    // Its leader ends, and with it the memory that /proc shows of the leader; a thread lives on with all of it.
    touch(map(MAP_PRIVATE | MAP_ANONYMOUS));
    fork_and_wait(1, [] {
      pthread_t thread;
      ::pthread_create(&thread, nullptr, [](void*) -> void* {
        const auto proc = ProcDir::open();
        while (proc->look_up(::getpid()).value_or(ProcessInfo{}).state != 'Z') ::sched_yield();
        touch(map(MAP_PRIVATE | MAP_ANONYMOUS));
        (void)!::write(told, "x", 1);
        for (;;) ::pause();
      }, nullptr);
      ::syscall(SYS_exit, 0);
    });
  };
  const auto hidden_forks = [] {
    touch(map(MAP_PRIVATE | MAP_ANONYMOUS));
    ::prctl(PR_SET_DUMPABLE, 0);
    fork_and_wait(3, [] {});
  };
  const auto of_a_file = [] {
    const test::ScratchDir dir;
    dir.make_sparse("file", kPiece);
    const int fd = ::openat(dir.fd(), "file", O_RDONLY | O_CLOEXEC);
    const volatile char* memory = static_cast<char*>(::mmap(nullptr, kPiece, PROT_READ, MAP_PRIVATE, fd, 0));
    char sum = 0;
    for (Bytes at = 0; at < kPiece; at += 4096) sum = static_cast<char>(sum + memory[at]);
  };
  const struct { std::string what; Use use; int upper, exact, processes; } rows[] = {
      {"mapped, not touched", none, 0, 0, 1},
      {"anonymous", anonymous, 1, 1, 1},
      {"shared memory", shared, 1, 1, 1},
      {"anonymous, then three forks", forked, 4, 1, 4},
      {"shared memory of two", shared_by_two, 2, 1, 2},
      {"pages of a file", of_a_file, 0, 0, 1},
      {"held by a thread whose leader has ended", hidden_leader, 3, 2, 2},
      {"hidden from smaps_rollup, then three forks", hidden_forks, 4, 4, 4},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(test::as_plain_user([&]() -> std::string {
            Growth growth;
            const std::string trouble = measure(row.use, growth);
            if (!trouble.empty()) return trouble;
            return judge("bound", growth.upper, row.upper, row.processes, growth.before) +
                   judge("exact", growth.exact, row.exact, row.processes, growth.before);
          }) == "");
  }
}

// Watches a process that has done `use` against a limit of `room`; "over", "under" or an error.
std::string watch(const Use& use, Bytes room, Bytes& peak) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto done = sys::make_pipe();
  if (::fork() == 0) {
    use();
    (void)!::write(done->write.get(), "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  done->write.reset();
  if (::read(done->read.get(), &byte, 1) != 1) return "the process ended";
  MemoryWatch watch(*ProcDir::open(), room, -1);
  const auto over = watch.over_limit(::getpid(), {});
  peak = watch.peak();
  if (!kill_descendants({})) return "kill";
  return !over ? over.error().message : *over ? "over" : "under";
}

TEST_CASE("a job is over its limit by what it really holds, not by what its forks share") {
  const auto anonymous = [] { touch(map(MAP_PRIVATE | MAP_ANONYMOUS)); };
  const auto forked = [] { touch(map(MAP_PRIVATE | MAP_ANONYMOUS)); fork_and_wait(5, [] {}); };
  const struct { std::string what; Use use; Bytes room; std::string expected; } rows[] = {
      {"one, enough room", anonymous, 2 * kPiece, "under"},
      {"one, too little", anonymous, kPiece / 2, "over"},
      {"six that share, enough room for what they share", forked, 3 * kPiece, "under"},
      {"six that share, too little", forked, kPiece / 2, "over"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(test::as_plain_user([&]() -> std::string {
            Bytes peak = 0;
            const std::string verdict = watch(row.use, row.room, peak);
            if (verdict != row.expected) return verdict;
            return peak >= kPiece && peak < 3 * kPiece ? "" : fmt::format("peak {}", peak);
          }) == "");
  }
}

TEST_CASE("processes that are excepted do not count, those below them do") {
  CHECK(test::as_plain_user([]() -> std::string {
          ::prctl(PR_SET_CHILD_SUBREAPER, 1);
          auto done = sys::make_pipe();
          const pid_t outer = ::fork();
          if (outer == 0) {
            touch(map(MAP_PRIVATE | MAP_ANONYMOUS));
            fork_and_wait(1, [] {});
            touch(map(MAP_PRIVATE | MAP_ANONYMOUS));
            (void)!::write(done->write.get(), "x", 1);
            for (;;) ::pause();
          }
          char byte = 0;
          if (::read(done->read.get(), &byte, 1) != 1) return "the process ended";
          const auto proc = ProcDir::open();
          const pid_t except[] = {outer};
          const auto all = tree_memory(*proc, ::getpid(), {}, MemoryCount::kUpperBound);
          const auto below = tree_memory(*proc, ::getpid(), except, MemoryCount::kUpperBound);
          if (!kill_descendants({}) || !all || !below) return "not measured";
          return *all - *below >= 2 * kPiece && *below >= kPiece ? "" : fmt::format("{} {}", *all, *below);
        }) == "");
}

// Of a file system of their own, in memory: what is on it counts once, mapped or not.
TEST_CASE("files of the job's tmpfs count, and what is mapped of them does not count twice") {
  const auto mapped = [](int fd) { touch(map(MAP_SHARED, fd)); };
  const auto copied = [](int fd) { touch(map(MAP_PRIVATE, fd)); };
  const struct {
    std::string what; std::function<void(int)> use; int processes; Bytes room; std::string expected;
  } rows[] = {
      {"a file that nobody maps, too little room", [](int) {}, 1, kPiece / 2, "over"},
      {"the same, enough room", [](int) {}, 1, kPiece + kNoise, "under"},
      {"mapped by two, enough room for one of them", mapped, 2, kPiece + 2 * kNoise, "under"},
      {"mapped by two, too little room", mapped, 2, kPiece / 2, "over"},
      {"mapped and copied, enough room for both", copied, 1, 2 * kPiece + kNoise, "under"},
      {"mapped and copied, too little room", copied, 1, kPiece + kNoise, "over"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const test::ScratchDir dir;  // outside: it can go when the mount has gone with its namespace
    CHECK(test::with_mounts([&]() -> std::string {
            if (const std::string trouble = test::mount_tmpfs(dir.path(), 2 * kPiece, 100); !trouble.empty())
              return trouble;
            const std::string path = dir.path() + "/file";
            const UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
            if (::posix_fallocate(file.get(), 0, kPiece) != 0) return "posix_fallocate";
            ::prctl(PR_SET_CHILD_SUBREAPER, 1);
            fork_and_wait(row.processes, [&] { row.use(file.get()); });
            MemoryWatch watch(*ProcDir::open(), row.room, file.get());
            const auto over = watch.over_limit(::getpid(), {});
            if (!kill_descendants({}) || !over) return "not measured";
            return *over == (row.expected == "over") ? "" : fmt::format("peak {}", watch.peak());
          }) == "");
  }
}

TEST_CASE("what is mapped from a device is found by the device's number, whatever a file is called") {
  const std::string_view text =
      "7f10-7f20 rw-s 00000000 00:2a 12   /dev/shm/x\nSize: 9 kB\nPss: 40 kB\nAnonymous: 0 kB\nVmFlags: rd wr\n"
      "7f20-7f30 rw-p 00000000 00:2a 13   /dev/shm/y\nPss: 30 kB\nAnonymous: 20 kB\n"
      "7f30-7f40 rw-p 00000000 00:2a 14   /dev/shm/z\nPss: 5 kB\nAnonymous: 20 kB\n"
      "7f40-7f50 rw-s 00000000 00:12 99   /tmp/ 00:2a 1\nPss: 7 kB\nAnonymous: 0 kB\n"
      "7f50-7f60 rw-p 00000000 00:00 0    [heap]\nPss: 3 kB\nAnonymous: 3 kB\n";
  CHECK(parse_mapped_from(text, makedev(0, 0x2a)) == 50 * kKiB);
  CHECK(parse_mapped_from(text, makedev(0, 0x12)) == 7 * kKiB);
  CHECK(parse_mapped_from(text.substr(0, 30), makedev(0, 0x2a)) == 0);  // cut off before its figures
  CHECK(parse_mapped_from("", makedev(0, 0x2a)) == 0);
}

TEST_CASE("a line of kilobytes is found by its whole key") {
  const std::string_view text = "Name:\tRssAnon: 9 kB\nXRssAnon:\t 7 kB\nRssAnon:\t     112 kB\nVmSwap:\nLast: 5";
  CHECK(parse_kilobytes(text, "RssAnon:") == 112 * kKiB);
  CHECK(parse_kilobytes(text, "VmSwap:") == 0);
  CHECK(parse_kilobytes(text, "RssShmem:") == 0);
  CHECK(parse_kilobytes(text, "Last:") == 5 * kKiB);
  CHECK(parse_kilobytes("", "Last:") == 0);
}

}  // namespace
}  // namespace coderunner
