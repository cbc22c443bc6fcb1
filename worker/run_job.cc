// Role: see run_job.h.
#include "worker/run_job.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "common/sys.h"
#include "common/wire.h"
#include "worker/artifacts.h"
#include "worker/boot_report.h"
#include "common/file_tree.h"
#include "worker/memory_watch.h"
#include "worker/process_tree.h"
#include "worker/pump.h"
#include "worker/verdict.h"

namespace coderunner {
namespace {

// Everything the supervisor is told, it is told in its own time: how long a client may take is not a worker's matter.
const Deadline kNoHurry = Deadline::never();

class FrameArtifacts : public ArtifactSink {
 public:
  explicit FrameArtifacts(Channel& channel) : channel_(channel) {}
  Result<void> on_artifact(const ArtifactHeader& header) override {
    return channel_.send(FrameType::kArtifact, encode(header), kNoHurry);
  }
  Result<void> on_data(std::string_view bytes) override {
    return channel_.send_pieces(FrameType::kArtifactData, bytes, kNoHurry);
  }

 private:
  Channel& channel_;
};

// What no kernel limit ends by itself: called every few milliseconds while the script runs.
class JobWatch {
 public:
  JobWatch(const Jail& jail, Sandbox& sandbox, ProcDir proc)
      : jail_(jail), sandbox_(sandbox), kills_before_(oom_kills()), refusals_before_(refused_forks()),
        memory_(std::move(proc), jail.setup.limits.memory_bytes, sandbox.tmpfs()) {}

  std::optional<RunOutcome> operator()() {
    sandbox_.reap_orphans();
    sandbox_.end_idle_template();
    if (jail_.cgroup)  // whoever removes it has moved the job to where nothing limits it
      if (const auto there = jail_.cgroup->check_there(); !there)
        return RunOutcome{.end = RunEnd::kSandboxLost, .reason = there.error().message};
    if (oom_kills() > kills_before_) return RunOutcome{.end = RunEnd::kMemory};
    if (!jail_.cgroup_counts_memory()) {
      const auto over = memory_.over_limit(::getpid(), sandbox_.keepers());
      if (over && *over) return RunOutcome{.end = RunEnd::kMemory};
    }
    if (!jail_.full() && ++calls_ % kDiskEvery == 0) {
      const Limits& limits = jail_.setup.limits;
      const auto use = disk_use(sandbox_.disk_folder(), limits.scratch_bytes, limits.scratch_inodes);
      if (use && (use->bytes > limits.scratch_bytes || use->inodes > limits.scratch_inodes))
        return RunOutcome{.end = RunEnd::kScratch};
    }
    return std::nullopt;
  }

  [[nodiscard]] bool oom_killed() const { return oom_kills() > kills_before_; }
  // nullopt: nobody counts.
  [[nodiscard]] std::optional<bool> fork_refused() const {
    if (!jail_.cgroup || !jail_.cgroup->counts_refused_forks()) return std::nullopt;
    return refused_forks() > refusals_before_;
  }
  [[nodiscard]] Bytes peak() const { return memory_.peak(); }

 private:
  static constexpr unsigned kDiskEvery = 8;  // a walk costs more than a look at /proc

  [[nodiscard]] std::uint64_t oom_kills() const { return jail_.cgroup ? jail_.cgroup->oom_kills().value_or(0) : 0; }

  [[nodiscard]] std::uint64_t refused_forks() const {
    return jail_.cgroup ? jail_.cgroup->refused_forks().value_or(0) : 0;
  }

  const Jail& jail_;
  Sandbox& sandbox_;
  std::uint64_t kills_before_, refusals_before_;
  MemoryWatch memory_;
  unsigned calls_ = 0;
};

// Processor time so far of all processes of a job that is about to be killed: the kernel forgets that of children which
// a dying namespace reaps. In clock ticks, 10 ms each on most machines.
std::uint64_t cpu_so_far(const Sandbox& sandbox) {
  const auto proc = ProcDir::open();
  const auto processes = proc ? descendants(*proc, ::getpid()) : std::unexpected(proc.error());
  const auto keepers = sandbox.keepers();
  std::uint64_t ticks = 0;
  if (processes)
    for (const ProcessInfo& process : *processes)
      if (!belongs_to(process, keepers)) ticks += process.cpu_ticks;
  return ticks * 1'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
}

// What the machine counted for the job as a whole, if it does; else the most that was seen, or `of_one`: the largest
// process, whose end told how much that was.
Bytes peak_memory(const Jail& jail, const JobWatch& watch, Bytes of_one) {
  if (jail.cgroup_counts_memory())
    if (const auto peak = jail.cgroup->peak_bytes(); peak && *peak) return **peak;
  return std::max(watch.peak(), of_one);
}

// The last of a runner's threads and children may need a moment to go.
bool soon_over(const Sandbox& sandbox) {
  constexpr timespec kPause{0, 20'000};
  const Deadline limit = Deadline::in(Millis(5));
  while (!sandbox.over()) {
    if (limit.passed()) return false;
    ::nanosleep(&kPause, nullptr);
  }
  return true;
}

// When this returns, no process of the job will run another instruction, and all of its output has been sent. A runner
// that ended by itself and left nobody behind needs no killing, and what it held may be taken apart when the answer is
// out: that costs more than many a job.
Result<void> settle(Sandbox& sandbox, Pump& pump, const RunOutcome& outcome, ExitReport& report) {
  report.cpu_us = outcome.told ? outcome.told->cpu_us : cpu_so_far(sandbox);
  report.peak_memory_bytes = outcome.told ? outcome.told->peak_memory_bytes : 0;
  if (outcome.told && (outcome.over || soon_over(sandbox))) return pump.drain_what_is_there();
  TRY(sandbox.end());
  return pump.drain();
}

Result<void> refuse_job(Channel& channel, const Error& why) {
  ExitReport report;
  report.reason = why.message;
  return channel.send(FrameType::kExit, encode(report), kNoHurry);
}

}  // namespace

Result<void> run_job(Channel& channel, const Jail& jail, Sandbox& sandbox, Job job) {
  if (job.trouble) return refuse_job(channel, *job.trouble);
  ExitReport report;
  const Limits& limits = jail.setup.limits;
  if (jail.cgroup) TRY(jail.cgroup->reset_peak());
  JobWatch watch(jail, sandbox, TRY(ProcDir::open()));
  Pump pump(channel, sandbox, limits, std::move(job.stdin_bytes));

  TRY(channel.send(FrameType::kStarted, {}, kNoHurry));
  const auto started = Clock::now();
  report.setup_us = static_cast<std::uint64_t>(since(job.arrived).count());
  RunOutcome outcome;
  if (auto released = sandbox.release(job.spec); !released)
    outcome.reason = released.error().message;
  else
    outcome = TRY(pump.run(Deadline::in(Millis(job.spec.timeout_ms)), std::ref(watch)));
  const std::string stacks = outcome.end == RunEnd::kTimedOut ? TRY(pump.ask_for_stacks()) : std::string();
  report.run_us = static_cast<std::uint64_t>(since(started).count());

  const auto collecting = Clock::now();
  TRY(settle(sandbox, pump, outcome, report));
  TRY(pump.send_stacks(stacks));
  report.stdout_bytes = pump.stdout_bytes();
  report.stderr_bytes = pump.stderr_bytes();
  report.denied = sandbox.denials.names();
  report.peak_memory_bytes = peak_memory(jail, watch, report.peak_memory_bytes);
  report.exception = parse_boot_report(pump.report()).exception;
  report.warm = sandbox.warm();
  pass_verdict({outcome, watch.oom_killed(), !jail.cgroup_counts_memory(), watch.fork_refused()}, report);

  if (outcome.end != RunEnd::kCancelled) {
    FrameArtifacts sink(channel);
    const auto collected = collect_artifacts(sandbox.workdir().fd(), {job.spec.nested_artifacts, jail.full()},
                                             limits, sink);
    if (!collected) return std::unexpected(collected.error());
    report.artifacts_refused = collected->refused;
    if (collected->refused && report.limit == LimitName::kNone) report.limit = LimitName::kArtifacts;
  }
  report.collect_us = static_cast<std::uint64_t>(since(collecting).count());
  return channel.send(FrameType::kExit, encode(report), kNoHurry);
}

}  // namespace coderunner
