// Role: see held_bytes.h.
#include "supervisor/held_bytes.h"

#include <algorithm>

namespace coderunner {

bool HeldBytes::has_room(Bytes bytes) const {
  const std::lock_guard lock(mutex_);
  return fits(held_, bytes);
}

Bytes HeldBytes::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

bool HeldBytes::Share::grow_to(Bytes bytes) {
  if (all_ == nullptr || bytes <= bytes_) return true;
  const std::lock_guard lock(all_->mutex_);
  const Bytes others = all_->held_ - bytes_;
  if (!all_->fits(others, bytes)) return false;
  all_->held_ = others + bytes;
  bytes_ = bytes;
  return true;
}

void HeldBytes::Share::take(Bytes bytes) {
  if (all_ == nullptr) return;
  const std::lock_guard lock(all_->mutex_);
  all_->held_ += bytes;
  bytes_ += bytes;
}

void HeldBytes::Share::shrink_to(Bytes bytes) {
  if (all_ == nullptr || bytes >= bytes_) return;
  const std::lock_guard lock(all_->mutex_);
  all_->held_ -= bytes_ - bytes;
  bytes_ = bytes;
}

}  // namespace coderunner
