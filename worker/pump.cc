// Role: see pump.h.
#include "worker/pump.h"

#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "common/sys.h"
#include "common/wire.h"
#include "worker/boot_report.h"

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
  bool frame_in = false, frame_out = false, out = false, err = false, in = false, status = false, report = false,
       denied = false;
};

Pump::Pump(Channel& channel, Sandbox& sandbox, const Limits& limits, std::string stdin_bytes)
    : channel_(channel),
      sandbox_(sandbox),
      out_{FrameType::kStdout, sandbox.stdout_read.get(), limits.stdout_bytes},
      err_{FrameType::kStderr, sandbox.stderr_read.get(), limits.stderr_bytes},
      stdin_(std::move(stdin_bytes)),
      buffer_(kMaxPayload, '\0'),
      memory_limit_(limits.memory_bytes) {
  if (stdin_.empty()) sandbox_.stdin_write.reset();
}

// A descriptor of -1 is skipped by poll(2): that is how an entry is switched off.
Result<Pump::Ready> Pump::wait(Deadline deadline, bool with_job) {
  const bool blocked = channel_.wants_write();
  const auto reading = [blocked](const Stream& stream) { return stream.open && !blocked ? stream.fd : -1; };
  // While the template lives it says how a warm runner has ended; afterwards this process has to see to that itself.
  const bool orphaned = with_job && sandbox_.status.closed();
  std::array<pollfd, 9> entries = {{
      {channel_.fd(), static_cast<short>(POLLIN | (blocked ? POLLOUT : 0)), 0},
      {reading(out_), POLLIN, 0},
      {reading(err_), POLLIN, 0},
      {with_job ? sandbox_.stdin_write.get() : -1, POLLOUT, 0},
      {with_job ? sandbox_.status.fd() : -1, POLLIN, 0},
      {with_job ? sandbox_.init().pidfd() : -1, POLLIN, 0},
      {orphaned ? sandbox_.runner_fd() : -1, POLLIN, 0},
      {with_job && report_open_ ? sandbox_.report_read.get() : -1, POLLIN, 0},
      {with_job ? sandbox_.denials.fd() : -1, POLLIN, 0},
  }};
  TRY(sys::poll(entries, deadline));
  return Ready{(entries[0].revents & ~POLLOUT) != 0, (entries[0].revents & POLLOUT) != 0, entries[1].revents != 0,
               entries[2].revents != 0, entries[3].revents != 0,
               (entries[4].revents | entries[5].revents | entries[6].revents) != 0, entries[7].revents != 0,
               entries[8].revents != 0};
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
    if (ready.status)
      if (auto ended = TRY(hear_status())) return *ended;
    if (deadline.passed()) return RunOutcome{RunEnd::kTimedOut, 0, {}, {}};
    if (next_watch.passed()) {
      if (auto found = watch()) return *std::move(found);
      next_watch = Deadline::in(kWatchEvery);
    }
  }
}

// The first thread answers for all, but faulthandler's answer is of the hundred that were started last: the older ones
// are asked for their own, one after the other, since of two that write at once one would write nothing.
Result<std::string> Pump::ask_for_stacks() {
  constexpr std::size_t kAtOnce = 100;
  const Deadline limit = Deadline::in(kStackLimit);
  const std::vector<pid_t> threads = sandbox_.threads();
  StackCollector answers;
  if (!threads.empty()) TRY(hear_stacks(threads.front(), StackValue::kAll, limit, answers));
  const std::size_t older = threads.size() > kAtOnce && answers.answered() > 0 ? threads.size() - kAtOnce : 0;
  std::size_t asked = 0;
  for (; asked < older && !limit.passed(); ++asked)
    TRY(hear_stacks(threads[asked], StackValue::kOwn, limit, answers));
  const std::size_t silent = older + 1 - std::min(answers.answered(), older + 1);
  std::string text = std::move(answers).take();
  if (!text.empty() && silent > 0) text += fmt::format("\n[Answers that did not come in time: {}]\n", silent);
  return text;
}

// Until the answer is there, the pipe's end, or the limit.
Result<void> Pump::hear_stacks(pid_t thread, StackValue which, Deadline limit, StackCollector& answers) {
  const std::size_t wanted = answers.answered() + 1;
  sandbox_.ask_for_stacks(thread, which);
  while (answers.answered() < wanted && !limit.passed()) {
    pollfd entry{sandbox_.report_read.get(), POLLIN, 0};
    if (TRY(sys::poll({&entry, 1}, limit)) == 0) break;
    const auto count = TRY(sys::read_some(sandbox_.report_read.get(), buffer_));
    if (count && *count == 0) break;
    if (count) answers.feed(std::string_view(buffer_).substr(0, *count));
  }
  return {};
}

Result<void> Pump::send_stacks(std::string_view stacks) {
  return channel_.send_pieces(FrameType::kStderr, stacks, Deadline::never());
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

// A word comes before the end of whoever speaks, so the pipe is read first: what it says is true even if the speaker
// has been killed since.
Result<std::optional<RunOutcome>> Pump::hear_status() {
  while (const auto status = TRY(sandbox_.status.next())) {
    if (status->kind == InitStatus::Kind::kEnded) return ended(*status);
    if (status->kind == InitStatus::Kind::kFailed)
      return RunOutcome{RunEnd::kSandboxLost, 0, sandbox_.status.rest(), {}};
  }
  if (init_ended(sandbox_)) return ended({});
  if (!sandbox_.status.closed()) return std::nullopt;
  pollfd runner{sandbox_.runner_fd(), POLLIN, 0};
  if (TRY(sys::poll({&runner, 1}, Deadline::in(Millis{0}))) == 0)
    return std::nullopt;  // it runs on without its template
  const auto reaped = sandbox_.reap_runner();
  if (!reaped) return RunOutcome{RunEnd::kSandboxLost, 0, reaped.error().message, {}};
  return ended(*reaped);
}

// A warm runner whose init was killed has been killed by that.
RunOutcome Pump::ended(const InitStatus& status) const {
  const bool told = status.kind == InitStatus::Kind::kEnded;
  if (told && !(sandbox_.warm() && WIFSIGNALED(status.wait_status) && init_ended(sandbox_)))
    return {RunEnd::kExited, status.wait_status, {}, status};
  return {RunEnd::kSandboxLost, 0, "the sandbox's first process was killed", {}};
}

// What a warm runner says of its end is a reason to look whether the kernel knows of it, and no more: any process of
// the job can say the same. All of it is read, so that nobody in there waits for room in the pipe; what lies beyond the
// first pieces means nothing.
Result<std::optional<RunOutcome>> Pump::hear_runner() {
  const auto count = TRY(sys::read_some(sandbox_.report_read.get(), buffer_));
  if (!count) return std::nullopt;
  if (*count == 0) {
    report_open_ = false;
    return std::nullopt;
  }
  report_.append(buffer_, 0, std::min(*count, kMaxPayload - report_.size()));
  if (end_announced_ || !sandbox_.warm()) return std::nullopt;  // a fresh one ends by ending
  const auto word = parse_boot_report(report_).ended;
  if (!word) return std::nullopt;
  end_announced_ = true;
  const auto seen = sandbox_.await_early_end(*word, memory_limit_);
  if (!seen) return std::nullopt;
  RunOutcome outcome = ended(seen->status);
  outcome.over = seen->over;
  return outcome;
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
