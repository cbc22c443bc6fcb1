// Role: things of the service's own that a job must not be able to reach, laid out for the time of a check: a file, a
// TCP port, an abstract Unix socket, System V shared memory, a variable.
// Callers: sandbox_check.cc; launch.cc plants the variable.
// Law: worth nothing to whoever reaches them, and gone with this object, or with the process.
#pragma once

#include <string>

#include "common/job.h"
#include "common/unique_fd.h"

namespace coderunner {

// Before threads exist, and before a worker is born.
inline constexpr const char* kBaitVariable = "CODERUNNER_BAIT";
void plant_bait_variable();

class Bait {
 public:
  // What this machine has no room for is left out, and the probe skips it.
  explicit Bait(const std::string& temp_dir);
  ~Bait();
  Bait(const Bait&) = delete;
  Bait& operator=(const Bait&) = delete;

  // The first argument of sandbox_probe.py, for a job of the workers that reported this.
  [[nodiscard]] std::string describe(const ReadyReport& ready, NetworkMode network, const Limits& limits) const;

 private:
  std::string file_;      // absolute path
  UniqueFd port_listener_, abstract_listener_;
  int port_ = 0;
  std::string abstract_;  // without the NUL in front
  int shared_memory_ = -1;
  void* attached_ = nullptr;
};

}  // namespace coderunner
