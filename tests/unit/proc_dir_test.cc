// Role: tests of common/proc_dir.h.
#include "common/proc_dir.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sys.h"
#include "tests/support/forked.h"

namespace coderunner {
namespace {

TEST_CASE("stat lines are read whatever a process calls itself") {
  const std::string rest = " 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 3 0 77 1 1";
  const struct { std::string text; bool good; } rows[] = {
      {"12 (python3) S 5 1" + rest, true},
      {"12 (a) R 1 (b) S 5 1" + rest + "\n", true},
      {"12 () S 5 1" + rest, true},
      {"12 (\n) Z 9 \xff) S 5 1" + rest, true},
      {"", false}, {"12", false}, {"12 (a", false}, {"12 (a)", false}, {"12 (a) ", false}, {"12 (a) S", false},
      {"12 (a) S 5", false}, {"12 (a) S x 1" + rest, false}, {"x (a) S 5 1" + rest, false}, {") 12 (", false},
      {"12 (a) SS 5 1" + rest, false}, {"12 (a) S 5 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 3 0", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto info = parse_stat(row.text);
    REQUIRE(info.has_value() == row.good);
    if (!info) continue;
    CHECK(info->pid == 12);
    CHECK(info->parent == 5);
    CHECK(info->state == 'S');
    CHECK(info->threads == 3);
    CHECK(info->start_time == 77);
  }
}

TEST_CASE("a stat line tells of an end before it has been reaped") {
  const auto line = [](const char* flags, const char* size, const char* status) {
    return fmt::format(
        "12 (python3) R 5 1 1 0 -1 {} 0 0 0 0 10 20 3 4 20 0 1 0 77 {} 100 18446744073709551615 1 1 1 0 0 0 "
        "0 16781312 2 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 {}\n", flags, size, status);
  };
  const auto running = parse_stat(line("4194560", "4096", "0"));
  REQUIRE(running.has_value());
  CHECK((running->mapped && !running->exiting && running->wait_status == 0));
  CHECK(running->cpu_ticks == 37);
  CHECK(running->child_ticks == 7);
  const auto ended = parse_stat(line("4194564", "0", "768"));
  REQUIRE(ended.has_value());
  CHECK((!ended->mapped && ended->exiting && ended->wait_status == 3 << 8));
  CHECK(parse_stat(line("4194564", "0", "9"))->wait_status == 9);
}

TEST_CASE("the status of a process tells of a kill, of a thread's own or of the whole process") {
  const auto status = [](const char* own, const char* shared) {
    return fmt::format(
        "Name:\tx\nThreads:\t1\nSigQ:\t0/9\nSigPnd:\t{}\nShdPnd:\t{}\nSigBlk:\tffffffffffffffff\n", own, shared);
  };
  const char* none = "0000000000000000";
  CHECK_FALSE(parse_kill_sent(status(none, none)));
  CHECK_FALSE(parse_kill_sent(status(none, "0000000000004000")));  // SIGTERM
  CHECK(parse_kill_sent(status(none, "0000000000000100")));        // SIGKILL is bit 8
  CHECK(parse_kill_sent(status("0000000000000100", none)));
  CHECK_FALSE(parse_kill_sent(""));
}

TEST_CASE("a process that has been sent SIGKILL does not live from that moment on") {
  const auto told = test::in_child([]() -> std::string {
    const auto proc = ProcDir::open();
    for (int round = 0; round < 200; ++round) {
      Pipe ready = sys::make_pipe().value();
      const pid_t pid = ::fork();
      if (pid == 0) {
        (void)sys::write_all(ready.write.get(), "x");
        for (;;) ::pause();
      }
      ready.write.reset();
      char byte = 0;
      if (::read(ready.read.get(), &byte, 1) != 1) return "not ready";
      const bool before = proc->lives(pid);
      ::kill(pid, SIGKILL);
      const bool after = proc->lives(pid);
      ::waitpid(pid, nullptr, 0);
      if (!before) return "not alive before";
      if (after) return fmt::format("alive after, round {}", round);
    }
    return "";
  });
  CHECK(told == "");
}

}  // namespace
}  // namespace coderunner
