// Role: the owner of a file descriptor. The only close() in the project.
// Callers: everything that holds a descriptor for longer than a call.
// Law: no conversion to int; borrowed descriptors travel as int, owned ones as UniqueFd.
#pragma once

#include <unistd.h>

#include <utility>

namespace coderunner {

class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  // close() is not retried on EINTR: Linux has freed the descriptor by then (close(2), NOTES).
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

// Both ends of a pipe, or of a socketpair (then either end reads and writes).
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

}  // namespace coderunner
