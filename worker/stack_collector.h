// Role: what a runner's threads answer when they are asked for their stacks: records on its report pipe -> one text.
// Callers: pump.cc.
// Law: any process of the job can write to that pipe, anything and without end. So a byte is looked at once, what is kept
// is bounded, and what is believed can change nothing but the text that the script's own client gets.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/limits.h"

namespace coderunner {

class StackCollector {
 public:
  // How faulthandler begins a stack, and how bootstrap.py ends each answer; then comes the NUL that ends every record.
  static constexpr std::string_view kHead = "Stack (most recent call first):\n";
  static constexpr char kEnd = '\1';
  // faulthandler writes a hundred frames at most, and 500 characters of a name.
  static constexpr Bytes kOneStack = 128 * kKiB;

  void feed(std::string_view bytes);
  // Threads that have answered, those that run no Python among them.
  [[nodiscard]] std::size_t answered() const { return answered_; }
  // Their stacks in the order of their answers, whole lines, a blank one between two; kStackBytes - kNote at most.
  [[nodiscard]] const std::string& text() const { return text_; }
  static constexpr Bytes kNote = 100;

 private:
  void finish_record();

  std::string record_, text_;
  char last_ = 0;  // of the record, kept or not
  std::size_t answered_ = 0;
};

}  // namespace coderunner
