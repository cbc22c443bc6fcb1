// Role: tests of worker/stack_collector.h.
#include "worker/stack_collector.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace coderunner {
namespace {

using namespace std::string_literals;

const std::string kHead{StackCollector::kHead};

struct Row {
  const char* what;
  std::string bytes, text;
  std::size_t answered;
};

const Row kRows[] = {
    {"nothing", "", "", 0},
    {"one thread", kHead + "  File \"a\", line 1 in f\n\1\0"s, kHead + "  File \"a\", line 1 in f\n", 1},
    {"one that runs no Python", "\1\0"s, "", 1},
    {"two, and one without Python between them", kHead + "  a\n\1\0\1\0"s + kHead + "  b\n\1\0"s, kHead + "  a\n\n" + kHead + "  b\n", 3},
    {"an answer that has not ended", kHead + "  a\n"s, "", 0},
    {"the record of a script that has just ended", "exception\0ValueError\0\0script.py\0001\0\0ended\0002048\0"s, "", 0},
    {"the same in the middle of a stack", kHead + "  a\n  bexception\0E\0\0\0\0\0 more\n\1\0"s, kHead + "  a\n", 1},
    {"what the script writes by itself", "x\0x\0\0\0x\0"s, "", 0},
};

TEST_CASE("answers are told from what else is in the pipe, however the bytes come") {
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    for (const std::size_t piece : {1UL, 2UL, 7UL, 4096UL}) {
      StackCollector collector;
      for (std::size_t at = 0; at < row.bytes.size(); at += piece) collector.feed(std::string_view(row.bytes).substr(at, piece));
      CHECK(collector.text() == row.text);
      CHECK(collector.answered() == row.answered);
    }
  }
}

TEST_CASE("what is kept is bounded, of one and of all, and ends with a whole line") {
  StackCollector one;
  one.feed(kHead + std::string(2 * StackCollector::kOneStack, 'x') + "\n\1\0"s);
  CHECK(one.text() == kHead);
  CHECK(one.answered() == 1);

  StackCollector all;
  std::string stack = kHead;
  while (stack.size() < StackCollector::kOneStack / 2) stack += "  File \"/work/script.py\", line 4 in deepest\n";
  for (int i = 0; i < 100; ++i) all.feed(stack + "\1\0"s);
  CHECK(all.answered() == 100);
  CHECK(all.text().size() <= kStackBytes - StackCollector::kNote);
  CHECK(all.text().size() > kStackBytes / 2);
  CHECK(all.text().ends_with("deepest\n"));
}

}  // namespace
}  // namespace coderunner
