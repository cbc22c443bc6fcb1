// Role: decides how many workers live, which is free, and when a lost one is started again.
// Callers: run_route.cc and run_command.cc borrow; pages.cc (health) looks; main.cc starts and stops it.
// Law: policy only: birth.cc starts and reaps. Every slot carries a generation; news of an older one is ignored.
// A worker that dies before its first Ready slows the next birth (100 ms, doubling to 10 s); later deaths do not.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/channel.h"
#include "common/child.h"
#include "common/job.h"
#include "common/result.h"
#include "common/units.h"
#include "supervisor/birth.h"

namespace coderunner {

class Pool;

// A worker on loan for one job. Destroyed: handed back; the worker is killed unless `finished` was called.
class Lease {
 public:
  Lease(Pool& pool, std::size_t slot, std::uint64_t generation, Channel channel)
      : pool_(&pool), slot_(slot), generation_(generation), channel_(std::move(channel)) {}
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  ~Lease();

  Channel& channel() { return channel_; }
  // What the worker was told at its birth: what it may send at most.
  [[nodiscard]] const Limits& limits() const;
  // The job's Exit has been read: the worker cleans up, says Ready and is borrowed again.
  void finished() { finished_ = true; }

 private:
  Pool* pool_;
  std::size_t slot_;
  std::uint64_t generation_;
  Channel channel_;
  bool finished_ = false;
};

// How patient the pool is; parameters so that tests need not be.
struct PoolTimings {
  Millis first_pause{100}, longest_pause{10'000};  // before the birth that follows a failed one
  Millis birth_limit{30'000};                      // from birth to the first Ready: a warm template may import pandas
  Millis reset_limit{20'000};                      // from Exit to the next Ready
  unsigned failures_tolerated = 3;                 // failed births in a row, then those who wait are told
};

struct PoolConfig {
  std::size_t workers = 1;
  std::size_t queue = 256;
  Bytes queue_bytes = 256 * kMiB;
  WorkerProgram program;
  WorkerSetup setup;                                  // index and cgroup_dirs are filled in for each slot
  std::vector<std::vector<std::string>> cgroup_dirs;  // one entry a slot (WorkerSetup::cgroup_dirs), or empty
  std::vector<const Child*> other_children;           // of this process: not to be taken for what a worker left
  std::function<void(std::string_view)> complain;     // the server's own errors, one line each; any thread; or empty
  PoolTimings timings;
};

struct PoolHealth {
  std::size_t ready = 0;
  std::size_t busy = 0;       // on loan
  std::size_t resetting = 0;  // cleaning up after a job, ready again soon
  std::size_t starting = 0;   // all others
  std::size_t queued = 0;
  Bytes queued_bytes = 0;
  std::uint64_t births = 0;                 // workers started since the service began
  std::uint64_t respawns = 0;               // those of them that were not their slot's first
  std::uint64_t leaks = 0;
  TemplateCounts templates;                 // of all workers there have been, as far as they have told
  std::vector<pid_t> worker_pids, template_pids;
  bool draining = false;
  std::optional<ReadyReport> report;        // of the worker that spoke last
  std::string trouble;                      // why the last birth failed, empty when none did since one was ready
};

class Pool {
 public:
  // Starts the thread that gives birth and listens to idle workers (births come from this one thread, because
  // PR_SET_PDEATHSIG is bound to the thread that forked), and returns at once.
  explicit Pool(PoolConfig config);
  ~Pool();  // kills and reaps every worker; precondition: no lease is out and nobody waits

  // Waits in the queue for a free worker, first come first served.
  // `held` bytes count against queue_bytes while waiting. `client_fd` (or -1): the wait ends when the peer hangs up.
  // Errors: kBusy (queue full by count or bytes), kUnavailable (draining, every birth fails, no descriptor
  // to wait with), kClient (peer gone).
  // `packages`: of the job (JobSpec); a worker whose last job was of the same kind is most likely prepared for it.
  Result<Lease> borrow(Bytes held, int client_fd, bool packages = false);

  // When another try is likely to find room: those who wait, times what a job has taken lately, over the workers.
  // From 1 s to kLongestWait.
  [[nodiscard]] std::chrono::seconds estimate_wait() const;
  static constexpr std::chrono::seconds kLongestWait{300};

  [[nodiscard]] PoolHealth health() const;
  // True once a worker is ready or at work, or false with the reason in health().trouble when every birth fails or
  // `deadline` passes.
  bool wait_until_ready(Deadline deadline);
  void drain();  // from now on borrow() answers kUnavailable; those who wait in the queue get it too
  // Waits until no lease is out; false when the deadline passes first.
  bool wait_until_idle(Deadline deadline);

 private:
  friend class Lease;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coderunner
