// Role: what comes through a sandbox's status pipe, one record after the other.
// Callers: sandbox.cc while it parks, main.cc while nobody needs it, pump.cc while a job runs.
// Law: never waits. Records have one size (init.h); a read may hold several of them, or end inside one.
#pragma once

#include <optional>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/init.h"

namespace coderunner {

class StatusPipe {
 public:
  StatusPipe() = default;
  explicit StatusPipe(UniqueFd read_end) : fd_(std::move(read_end)) {}  // non-blocking

  // For poll(2); -1 once nobody can write any more and everything has been heard.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool closed() const { return !fd_.valid(); }

  // The next record, nullopt when there is none now.
  Result<std::optional<InitStatus>> next();
  // After kFailed: the reason, as far as it is there.
  std::string rest();

 private:
  Result<void> fill();
  UniqueFd fd_;
  std::string buffer_;
};

}  // namespace coderunner
