// Role: one job on one worker: writes its frames, relays what comes back, ends with its report.
// Callers: dispatch.cc, sandbox_check.cc.
// Law: the only file of the supervisor that knows the order of frames. A worker that breaks it is given up
// (Fault::kWorkerLost); what had arrived before has reached the sink. One that is lost before it said Started has run
// no line of the script, and the sink has heard nothing (Fault::kNotStarted).
#pragma once

#include <atomic>
#include <string_view>

#include "common/job.h"
#include "common/result.h"
#include "common/units.h"
#include "supervisor/pool.h"
#include "supervisor/request.h"

namespace coderunner {

// Where a job's output goes as it comes. Called on the session's thread.
class JobSink {
 public:
  virtual ~JobSink() = default;
  virtual void on_stdout(std::string_view bytes) = 0;
  virtual void on_stderr(std::string_view bytes) = 0;
  virtual void on_artifact(const ArtifactHeader& header) = 0;         // data follows unless header.skipped is set
  virtual void on_artifact_data(std::string_view bytes) = 0;          // in order, of the artifact announced last

  // A sink whose reader is the client itself, at SessionWatch::client_fd, says here what that one has not taken: while
  // there is any, nothing more comes from the worker, and so the script waits, too.
  [[nodiscard]] virtual bool wants_write() const { return false; }
  virtual bool flush() { return true; }                      // writes what the client takes now; false: it has gone
  [[nodiscard]] virtual Bytes taken() const { return 0; }    // by the client so far
  [[nodiscard]] virtual Deadline silent_until() const { return Deadline::never(); }
  virtual void on_silence() {}                               // that moment has come, and nothing is held
};

struct SessionWatch {
  int client_fd = -1;                            // hang-up of this peer cancels the job; -1: nobody to watch
  const std::atomic<bool>* drain_now = nullptr;  // set: the job is ended as timed out (the grace period is over)
  Millis margin{20'000};                         // beyond the job's timeout: to kill, collect and answer
  // Beyond the job's timeout, for a client that takes its live output slowly or not at all; and a second more for each
  // `bytes_per_second` that it does take.
  Millis patience{5'000};
  Bytes bytes_per_second = 64 * kKiB;
};

// Runs to the job's Exit. Never longer than the job's timeout plus a margin for collection (then the worker is lost).
// When the client hangs up, or does not take its output in time: Fault::kClient "cancelled: …", the job killed and the
// worker free again.
Result<ExitReport> run_session(Lease lease, const RunRequest& request, JobSink& sink, const SessionWatch& watch);

}  // namespace coderunner
