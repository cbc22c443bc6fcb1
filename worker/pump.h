// Role: a running job's pipes <-> frames: input in, output out, deadline, caps, watching.
// Callers: run_job.cc.
// Law: never waits on one thing alone. Nothing is read from the script while a frame is still unsent, so that a slow
// client slows its own script; output beyond a cap is read and dropped, so that a loud script is not stopped.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "common/channel.h"
#include "common/job.h"
#include "worker/init.h"
#include "worker/sandbox.h"
#include "worker/stack_collector.h"

namespace coderunner {

// What ended the run.
enum class RunEnd : std::uint8_t {
  kExited,       // the runner ended by itself (or by a signal): wait_status tells
  kTimedOut,     // its deadline, or the service's end
  kCancelled,    // the client has gone
  kMemory,       // the watch found it above its memory
  kScratch,      // the watch found it above its disk space (reduced level)
  kSandboxLost,  // init or a cgroup has gone, or init could not start the runner: `reason`
};

struct RunOutcome {
  RunEnd end = RunEnd::kSandboxLost;
  int wait_status = 0;
  std::string reason{};
  std::optional<InitStatus> told{};  // kExited: what init, the template or the kernel has said of it
  bool over = false;                 // Sandbox::over() has been seen already
};

// One of the script's output streams: what passed, and up to where it is sent on.
struct Stream {
  FrameType type;
  int fd;
  Bytes cap;
  Bytes seen = 0;
  bool open = true;
};

class Pump {
 public:
  // Called about every kWatchEvery while the script runs; an answer ends it.
  using Watch = std::function<std::optional<RunOutcome>()>;
  static constexpr Millis kWatchEvery{25};

  Pump(Channel& channel, Sandbox& sandbox, const Limits& limits, std::string stdin_bytes);

  // Until the run is over. An Error means that the supervisor has gone or broken the protocol.
  Result<RunOutcome> run(Deadline deadline, const Watch& watch);
  // After the deadline, before the end: where each thread of the script is, a blank line between two. Takes kStackLimit
  // at most, and says what has not come by then. Empty when nothing has: the script has become another program, say.
  Result<std::string> ask_for_stacks();
  static constexpr Millis kStackLimit{200};
  // When every process of the job is dead: the rest of its output.
  Result<void> drain();
  // The same where nobody can write any more, but the pipes have not been closed yet.
  Result<void> drain_what_is_there();

  // The stacks, when all of the script's own output is sent; however much that was.
  Result<void> send_stacks(std::string_view stacks);

  // What came through the report pipe; complete after drain().
  [[nodiscard]] const std::string& report() const { return report_; }
  [[nodiscard]] Bytes stdout_bytes() const { return out_.seen; }
  [[nodiscard]] Bytes stderr_bytes() const { return err_.seen; }

 private:
  struct Ready;
  Result<Ready> wait(Deadline deadline, bool with_job);
  Result<std::optional<RunOutcome>> hear_supervisor();
  Result<std::optional<RunOutcome>> hear_status();
  Result<std::optional<RunOutcome>> hear_runner();
  RunOutcome ended(const InitStatus& status) const;
  Result<void> relay(Stream& stream);
  Result<void> pass_on(Stream& stream, std::string_view bytes);
  void feed_stdin();
  Result<void> hear_stacks(pid_t thread, StackValue which, Deadline limit, StackCollector& answers);

  Channel& channel_;
  Sandbox& sandbox_;
  Stream out_, err_;
  std::string stdin_;
  std::size_t stdin_sent_ = 0;
  std::string buffer_;
  std::string report_;
  bool report_open_ = true;
  bool end_announced_ = false;  // by the runner's own word, of which the first is followed up and no other
  Bytes memory_limit_;
};

}  // namespace coderunner
