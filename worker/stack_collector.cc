// Role: see stack_collector.h.
#include "worker/stack_collector.h"

#include <algorithm>
#include <utility>

namespace coderunner {
namespace {

// faulthandler's first words: for one thread, for all of them, and where it is the first of these who answers.
constexpr std::string_view kHeads[] = {"Stack (most recent call first):\n", "Thread 0x", "Current thread 0x"};

}  // namespace

void StackCollector::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\0'), bytes.size());
    const Bytes room = kStackBytes - kNote - 1 - text_.size();
    record_.append(bytes.substr(0, std::min(end, room - record_.size())));
    if (end > 0) last_ = bytes[end - 1];
    if (end == bytes.size()) return;
    finish_record();
    bytes.remove_prefix(end + 1);
  }
}

// A record of another kind, that of a script which ends at this moment, is none of ours. Its first words may stand in
// the middle of a stack, which goes on in a record of its own then: so what counts as an answer is its end, and what is
// kept of stacks is whole lines.
void StackCollector::finish_record() {
  if (last_ == kEnd) ++answered_;
  if (std::ranges::any_of(kHeads, [&](std::string_view head) { return record_.starts_with(head); })) {
    record_.resize(record_.rfind('\n') + 1);
    if (!text_.empty() && !record_.empty()) text_ += '\n';
    text_ += record_;
  }
  record_.clear();
  last_ = 0;
}

std::string StackCollector::take() && {
  finish_record();
  return std::move(text_);
}

}  // namespace coderunner
