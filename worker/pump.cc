// Role: see pump.h.
#include "worker/pump.h"

#include <poll.h>
#include <sys/wait.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "common/sys.h"
#include "common/wire.h"
#include "worker/process_tree.h"
#include "worker/verdict.h"

namespace coderunner {
namespace {

// On its way out is enough: a killed init ends only after everybody in its namespace has been reaped.
bool init_ended(const Sandbox& sandbox) {
  const auto proc = ProcDir::open();
  const auto init = proc ? proc->look_up(sandbox.init().pid()) : std::nullopt;
  return !init || init->exiting;
}

}  // namespace

// What poll(2) found; the order of the entries in wait().
struct Pump::Ready {
  bool frame_in = false, frame_out = false, out = false, err = false, in = false, status = false, init = false, report = false, denied = false;
};

Pump::Pump(Channel& channel, Sandbox& sandbox, const Limits& limits, std::string stdin_bytes)
    : channel_(channel),
      sandbox_(sandbox),
      out_{FrameType::kStdout, sandbox.stdout_read.get(), limits.stdout_bytes},
      err_{FrameType::kStderr, sandbox.stderr_read.get(), limits.stderr_bytes},
      stdin_(std::move(stdin_bytes)),
      buffer_(kMaxPayload, '\0') {
  if (stdin_.empty()) sandbox_.stdin_write.reset();
}

// A descriptor of -1 is skipped by poll(2): that is how an entry is switched off.
Result<Pump::Ready> Pump::wait(Deadline deadline, bool with_job) {
  const bool blocked = channel_.wants_write();
  const auto reading = [blocked](const Stream& stream) { return stream.open && !blocked ? stream.fd : -1; };
  std::array<pollfd, 8> entries = {{
      {channel_.fd(), static_cast<short>(POLLIN | (blocked ? POLLOUT : 0)), 0},
      {reading(out_), POLLIN, 0},
      {reading(err_), POLLIN, 0},
      {with_job ? sandbox_.stdin_write.get() : -1, POLLOUT, 0},
      {with_job ? sandbox_.status_read.get() : -1, POLLIN, 0},
      {with_job ? sandbox_.init().pidfd() : -1, POLLIN, 0},
      {with_job && report_open_ && report_.size() < kMaxPayload ? sandbox_.report_read.get() : -1, POLLIN, 0},
      {with_job ? sandbox_.denials.fd() : -1, POLLIN, 0},
  }};
  TRY(sys::poll(entries, deadline));
  return Ready{(entries[0].revents & ~POLLOUT) != 0, (entries[0].revents & POLLOUT) != 0, entries[1].revents != 0,
               entries[2].revents != 0, entries[3].revents != 0, entries[4].revents != 0, entries[5].revents != 0,
               entries[6].revents != 0, entries[7].revents != 0};
}

Result<RunOutcome> Pump::run(Deadline deadline, const Watch& watch) {
  // What came along with Run has been read with it, and poll(2) will not tell of it.
  if (auto ended = TRY(hear_supervisor())) return *ended;
  Deadline next_watch = Deadline::in(kWatchEvery);
  for (;;) {
    const Ready ready = TRY(wait(deadline.earlier(next_watch), true));
    if (ready.frame_out) TRY(channel_.flush());
    if (ready.frame_in)
      if (auto ended = TRY(hear_supervisor())) return *ended;
    if (ready.out) TRY(relay(out_));
    if (ready.err) TRY(relay(err_));
    if (ready.in) feed_stdin();
    if (ready.denied) sandbox_.denials.answer();
    if (ready.report)
      if (auto ended = TRY(hear_runner())) return *ended;
    if (ready.status || ready.init)
      if (auto ended = TRY(hear_init())) return *ended;
    if (deadline.passed()) return RunOutcome{RunEnd::kTimedOut, 0, {}, {}};
    if (next_watch.passed()) {
      if (const auto found = watch()) return RunOutcome{*found, 0, {}, {}};
      next_watch = Deadline::in(kWatchEvery);
    }
  }
}

// faulthandler ends its text with nothing that could be waited for: a pause in it is taken for the end.
Result<void> Pump::relay_stack() {
  constexpr Millis kPause{20};
  sandbox_.init().kill(kShowStackSignal);
  const Deadline limit = Deadline::in(kStackLimit);
  std::string stack;
  for (Deadline pause = limit; stack.size() < kMaxPayload; pause = Deadline::in(kPause).earlier(limit)) {
    pollfd entry{sandbox_.report_read.get(), POLLIN, 0};
    if (TRY(sys::poll({&entry, 1}, pause)) == 0) break;
    const auto count = TRY(sys::read_some(sandbox_.report_read.get(), buffer_));
    if (!count || *count == 0) break;
    stack.append(buffer_, 0, *count);
  }
  stack.resize(std::min(stack.size(), kMaxPayload));
  return stack.empty() ? Result<void>() : pass_on(err_, stack);
}

Result<void> Pump::drain_what_is_there() {
  for (Stream* stream : {&out_, &err_}) {
    TRY(sys::set_nonblocking(stream->fd, true));
    for (Bytes before = stream->seen; stream->open; before = stream->seen) {
      while (channel_.wants_write()) {
        const Ready ready = TRY(wait(Deadline::never(), false));
        if (ready.frame_out) TRY(channel_.flush());
        if (ready.frame_in) TRY(hear_supervisor());
      }
      TRY(relay(*stream));
      if (stream->seen == before) break;
    }
  }
  return {};
}

Result<void> Pump::drain() {
  if (report_open_ && report_.size() < kMaxPayload)
    if (auto rest = sys::read_all(sandbox_.report_read.get(), kMaxPayload)) report_ += *rest;
  while (out_.open || err_.open || channel_.wants_write()) {
    const Ready ready = TRY(wait(Deadline::never(), false));
    if (ready.frame_out) TRY(channel_.flush());
    // A cancel has come too late to matter, but a supervisor that has gone is an error here, too.
    if (ready.frame_in) TRY(hear_supervisor());
    if (ready.out) TRY(relay(out_));
    if (ready.err) TRY(relay(err_));
  }
  return {};
}

Result<std::optional<RunOutcome>> Pump::hear_supervisor() {
  const auto frame = TRY(channel_.try_receive());
  if (!frame) return std::nullopt;
  if (frame->type != FrameType::kCancel)
    return fail(Fault::kWorkerLost, fmt::format("{} while a job runs", frame_name(frame->type)));
  const auto order = TRY(decode<CancelOrder>(frame->payload));
  return RunOutcome{order.reason == CancelReason::kDrain ? RunEnd::kTimedOut : RunEnd::kCancelled, 0, {}, {}};
}

// Init's word comes before its end, so the pipe is read first: what it says is true even if it has been killed since.
Result<std::optional<RunOutcome>> Pump::hear_init() {
  InitStatus status{};
  const auto count = TRY(sys::read_some(sandbox_.status_read.get(), {reinterpret_cast<char*>(&status), sizeof status}));
  // A warm runner's end is told by the template, and when its init was killed, it is the consequence of that.
  const bool consequence = sandbox_.warm() && init_ended(sandbox_) && WIFSIGNALED(status.wait_status);
  if (count && *count == sizeof status && status.kind == InitStatus::Kind::kEnded && !consequence)
    return RunOutcome{RunEnd::kExited, status.wait_status, {}, status};
  if (count && *count == sizeof status && status.kind == InitStatus::Kind::kFailed) {
    const auto reason = sys::read_all(sandbox_.status_read.get(), kMaxPayload);
    return RunOutcome{RunEnd::kSandboxLost, 0, reason ? *reason : "init failed", {}};
  }
  return RunOutcome{RunEnd::kSandboxLost, 0, "the sandbox's first process was killed", {}};
}

// A warm runner says that it has ended before it is torn down. One that says so and runs on is killed in that moment.
Result<std::optional<RunOutcome>> Pump::hear_runner() {
  const auto count = TRY(sys::read_some(sandbox_.report_read.get(), buffer_));
  if (!count) return std::nullopt;
  if (*count == 0) {
    report_open_ = false;
    return std::nullopt;
  }
  report_.append(buffer_, 0, *count);
  const auto ended = parse_boot_report(report_).ended;
  if (!ended || !sandbox_.warm()) return std::nullopt;  // a fresh one ends by ending
  const int wait_status = ended->status << 8;  // the form of wait(2)
  return RunOutcome{RunEnd::kExited, wait_status, {},
                    InitStatus{InitStatus::Kind::kEnded, wait_status, ended->cpu_us, ended->peak_memory_bytes}};
}

Result<void> Pump::relay(Stream& stream) {
  const auto count = TRY(sys::read_some(stream.fd, buffer_));
  if (!count) return {};
  if (*count == 0) {
    stream.open = false;
    return {};
  }
  return pass_on(stream, std::string_view(buffer_).substr(0, *count));
}

Result<void> Pump::pass_on(Stream& stream, std::string_view bytes) {
  const Bytes room = stream.seen < stream.cap ? stream.cap - stream.seen : 0;
  stream.seen += bytes.size();
  const auto wanted = std::min<Bytes>(bytes.size(), room);
  if (wanted == 0) return {};
  channel_.queue(stream.type, bytes.substr(0, wanted));
  return channel_.flush();
}

// A script that closes its standard input ends the feeding, nothing else.
void Pump::feed_stdin() {
  const auto count = sys::write_some(sandbox_.stdin_write.get(), std::string_view(stdin_).substr(stdin_sent_));
  if (count && *count) stdin_sent_ += **count;
  if (!count || stdin_sent_ == stdin_.size()) sandbox_.stdin_write.reset();
}

}  // namespace coderunner
