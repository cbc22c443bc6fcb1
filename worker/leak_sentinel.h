// Role: after a job, when its sandbox has been cleared away: is anything of it left? Processes, descriptors of the
// worker, mounts, the job's folder.
// Callers: main.cc, after each job's Exit has been sent and before the next sandbox is parked: nobody waits for it.
// Law: it only looks. What may be here is known exactly: the worker, its templates, and what these have started
// while they import (matplotlib runs fc-list), which the kernel tells by its session (setsid(2)).
// System V objects and message queues are not looked for: at the full level they end with the job's IPC namespace, at
// the reduced level the filter refuses them (seccomp_policy.h).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "worker/cgroup.h"
#include "worker/process_tree.h"

namespace coderunner {

// What the sentinel looks at.
struct WatchedPlaces {
  const JobCgroup* cgroup = nullptr;  // null: none
  // Empty: not looked at, because the mounts are the host's (reduced level).
  std::string mountinfo;
};

// Templates of this worker; each leads a session of its own, which its pid names.
struct TemplateSessions {
  std::vector<pid_t> living;
  std::vector<pid_t> others;  // ended: what they started may live on for a moment
};

class LeakSentinel {
 public:
  explicit LeakSentinel(WatchedPlaces places) : places_(std::move(places)) {}

  // Before the first job: what is here now is no leak.
  Result<void> remember(const TemplateSessions& templates);

  // "" when nothing is left, else what is, in words: "2 processes (sleep, sh), 1 descriptor".
  // `folder`: the job's on disk, absolute; empty at the full level, where there is none.
  Result<std::string> look(const TemplateSessions& templates, const std::string& folder);

 private:
  [[nodiscard]] Result<std::vector<std::string>> stray_processes(const TemplateSessions& templates) const;

  WatchedPlaces places_;
  std::vector<pid_t> templates_;  // for which descriptors_ was counted
  std::size_t descriptors_ = 0;
  std::size_t mounts_ = 0;
};

}  // namespace coderunner
