// Role: what a runner answers when it is asked for the stacks of its threads: records on its report pipe -> one text.
// Callers: pump.cc.
// Law: any process of the job can write to that pipe, anything and without end. So a byte is looked at once, what is
// kept is bounded, and what is believed can change nothing but the text that the script's own client gets.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/limits.h"

namespace coderunner {

class StackCollector {
 public:
  // How bootstrap.py ends each answer; then comes the NUL that ends every record.
  static constexpr char kEnd = '\1';

  void feed(std::string_view bytes);
  [[nodiscard]] std::size_t answered() const { return answered_; }
  // The stacks in the order of their answers, whole lines, a blank one between two answers; also of one that has not
  // come to its end. kStackBytes - kNote at most.
  [[nodiscard]] std::string take() &&;
  static constexpr Bytes kNote = 100;

 private:
  void finish_record();

  std::string record_, text_;
  char last_ = 0;  // of the record, kept or not
  std::size_t answered_ = 0;
};

}  // namespace coderunner
