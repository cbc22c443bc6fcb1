// Role: tests of worker/stack_collector.h.
#include "worker/stack_collector.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

namespace coderunner {
namespace {

using namespace std::string_literals;

const std::string kHead = "Stack (most recent call first):\n";

struct Row {
  const char* what;
  std::string bytes, text;
  std::size_t answered;
};

const Row kRows[] = {
    {"nothing", "", "", 0},
    {"one thread", kHead + "  File \"a\", line 1 in f\n\1\0"s, kHead + "  File \"a\", line 1 in f\n", 1},
    {"one that runs no Python", "\1\0"s, "", 1},
    {"two, and one without Python between them", kHead + "  a\n\1\0\1\0"s + kHead + "  b\n\1\0"s,
     kHead + "  a\n\n" + kHead + "  b\n", 3},
    {"all threads at once", "Thread 0x1 (most recent ...):\n  a\n\nCurrent thread 0x2 (most recent ...):\n  b\n\1\0"s,
     "Thread 0x1 (most recent ...):\n  a\n\nCurrent thread 0x2 (most recent ...):\n  b\n", 1},
    {"an answer that has not ended", kHead + "  a\n  b"s, kHead + "  a\n", 0},
    {"the record of a script that has just ended", "exception\0ValueError\0\0script.py\0001\0\0ended\0002048\0"s,
     "", 0},
    {"the same in the middle of a stack", kHead + "  a\n  bexception\0E\0\0\0\0\0 more\n\1\0"s, kHead + "  a\n", 1},
    {"what the script writes by itself", "x\0x\0\0\0x\0"s, "", 0},
};

TEST_CASE("answers are told from what else is in the pipe, however the bytes come") {
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    for (const std::size_t piece : {1UL, 2UL, 7UL, 4096UL}) {
      StackCollector collector;
      for (std::size_t at = 0; at < row.bytes.size(); at += piece)
        collector.feed(std::string_view(row.bytes).substr(at, piece));
      CHECK(collector.answered() == row.answered);
      CHECK(std::move(collector).take() == row.text);
    }
  }
}

TEST_CASE("what is kept is bounded, of one answer and of all, and ends with a whole line") {
  const std::string line = "  File \"/work/script.py\", line 4 in deepest\n";
  for (const std::size_t answers : {1UL, 100UL}) {
    CAPTURE(answers);
    std::string stack = kHead;
    while (stack.size() < 2 * kStackBytes / answers) stack += line;
    StackCollector collector;
    for (std::size_t i = 0; i < answers; ++i) collector.feed(stack + "\1\0"s);
    CHECK(collector.answered() == answers);
    const std::string text = std::move(collector).take();
    CHECK(text.size() <= kStackBytes - StackCollector::kNote);
    CHECK(text.size() > kStackBytes - 1000);
    CHECK(text.ends_with(line));
  }
}

}  // namespace
}  // namespace coderunner
