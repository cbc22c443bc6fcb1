// Role: see stack_collector.h.
#include "worker/stack_collector.h"

#include <algorithm>

namespace coderunner {

void StackCollector::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\0'), bytes.size());
    record_.append(bytes.substr(0, std::min(end, kOneStack - record_.size())));
    if (end > 0) last_ = bytes[end - 1];
    if (end == bytes.size()) return;
    finish_record();
    bytes.remove_prefix(end + 1);
  }
}

// A record of another kind, that of a script which ends at this moment, is none of ours. Its first words may stand in the
// middle of a stack, which goes on in a record of its own then: so what counts as an answer is its end, and what is kept
// of a stack is its whole lines.
void StackCollector::finish_record() {
  if (last_ == kEnd) ++answered_;
  if (record_.starts_with(kHead)) {
    record_.resize(record_.rfind('\n') + 1);
    if (text_.size() + 1 + record_.size() <= kStackBytes - kNote) {
      if (!text_.empty()) text_ += '\n';
      text_ += record_;
    }
  }
  record_.clear();
  last_ = 0;
}

}  // namespace coderunner
