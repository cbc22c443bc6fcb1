// Role: see status_pipe.h.
#include "worker/status_pipe.h"

#include <array>
#include <cstring>

#include "common/sys.h"

namespace coderunner {

Result<void> StatusPipe::fill() {
  std::array<char, 4096> piece;
  while (fd_.valid()) {
    const auto count = TRY(sys::read_some(fd_.get(), piece));
    if (!count) return {};
    if (*count == 0) fd_.reset();
    buffer_.append(piece.data(), *count);
  }
  return {};
}

Result<std::optional<InitStatus>> StatusPipe::next() {
  if (buffer_.size() < sizeof(InitStatus)) TRY(fill());
  if (buffer_.size() < sizeof(InitStatus)) return std::nullopt;
  InitStatus record;
  std::memcpy(&record, buffer_.data(), sizeof record);
  buffer_.erase(0, sizeof record);
  return record;
}

std::string StatusPipe::rest() {
  if (!fill()) return {};
  return std::exchange(buffer_, {});
}

}  // namespace coderunner
