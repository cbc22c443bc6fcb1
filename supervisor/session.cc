// Role: the order of a job's frames, on both ways, and the clock over it.
// Callers: see session.h.
// Law: one thread, one poll(2): feeding and listening go on side by side, so that neither end waits for the other. At
// most kFeedAhead pieces of a request are copied into frames at a time.
#include "supervisor/session.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>

#include "common/sys.h"
#include "common/wire.h"
#include "supervisor/hang_up.h"

namespace coderunner {

namespace {

constexpr Millis kFeedLimit{20'000};       // for a worker to take a whole request
constexpr Millis kDrainLook{100};          // how late drain_now is seen at most
constexpr std::size_t kFeedAhead = 4;      // frames

std::unexpected<Error> broken(std::string message) { return fail(Fault::kWorkerLost, std::move(message)); }

// The frames of a request, one after the other: Job, each File with its FileData, StdinData, Run.
class Feed {
 public:
  explicit Feed(const RunRequest& request) : request_(&request) {}

  [[nodiscard]] bool done() const { return step_ == Step::kDone; }
  void queue_next(Channel& channel) {
    switch (step_) {
      case Step::kJob:
        channel.queue(FrameType::kJob, encode(request_->job));
        step_ = request_->files.empty() ? begin_stdin() : Step::kFile;
        return;
      case Step::kFile: {
        const InputFile& file = request_->files[file_];
        channel.queue(FrameType::kFile, encode(FileHeader{file.path, file.content.size(), file.read_only}));
        rest_ = file.content;
        step_ = rest_.empty() ? next_file() : Step::kFileData;
        return;
      }
      case Step::kFileData:
        if (queue_piece(channel, FrameType::kFileData)) step_ = next_file();
        return;
      case Step::kStdin:
        if (queue_piece(channel, FrameType::kStdinData)) step_ = Step::kRun;
        return;
      case Step::kRun:
        channel.queue(FrameType::kRun, {});
        step_ = Step::kDone;
        return;
      case Step::kDone: return;
    }
  }

 private:
  enum class Step { kJob, kFile, kFileData, kStdin, kRun, kDone };
  bool queue_piece(Channel& channel, FrameType type) {  // true when it was the last one
    channel.queue(type, rest_.substr(0, kMaxPayload));
    rest_.remove_prefix(std::min(rest_.size(), kMaxPayload));
    return rest_.empty();
  }
  Step next_file() { return ++file_ < request_->files.size() ? Step::kFile : begin_stdin(); }
  Step begin_stdin() {
    rest_ = request_->stdin_bytes;
    return rest_.empty() ? Step::kRun : Step::kStdin;
  }

  const RunRequest* request_;
  Step step_ = Step::kJob;
  std::size_t file_ = 0;
  std::string_view rest_;  // of the file or of stdin
};

// What a worker may say when, and how much of it: Started, output, artifacts, Exit.
class Listener {
 public:
  Listener(const Limits& limits, JobSink& sink) : limits_(limits), sink_(&sink) {}

  [[nodiscard]] bool started() const { return stage_ != Stage::kFed; }
  void go_deaf() { sink_ = nullptr; }  // the client has gone: frames are checked and dropped

  // The report once Exit has come.
  Result<std::optional<ExitReport>> on_frame(const Frame& frame) {
    switch (frame.type) {
      case FrameType::kReady:  // the parked sandbox was replaced while the job was under way
        if (stage_ != Stage::kFed) return out_of_turn(frame);
        return std::nullopt;
      case FrameType::kStarted:
        if (stage_ != Stage::kFed || !frame.payload.empty()) return out_of_turn(frame);
        stage_ = Stage::kRunning;
        return std::nullopt;
      case FrameType::kStdout:
        TRY(on_output(frame, stdout_bytes_, limits_.stdout_bytes));
        if (sink_ != nullptr) sink_->on_stdout(frame.payload);
        return std::nullopt;
      case FrameType::kStderr:
        TRY(on_output(frame, stderr_bytes_, limits_.stderr_bytes + kStackBytes));
        if (sink_ != nullptr) sink_->on_stderr(frame.payload);
        return std::nullopt;
      case FrameType::kArtifact:
        TRY(on_artifact(frame));
        return std::nullopt;
      case FrameType::kArtifactData:
        if (frame.payload.empty() || frame.payload.size() > artifact_rest_) return out_of_turn(frame);
        artifact_rest_ -= frame.payload.size();
        if (sink_ != nullptr) sink_->on_artifact_data(frame.payload);
        return std::nullopt;
      case FrameType::kExit:
        if (artifact_rest_ > 0) return out_of_turn(frame);
        return TRY(decode<ExitReport>(frame.payload));
      case FrameType::kFailed: return broken(frame.payload);
      default: return out_of_turn(frame);
    }
  }

 private:
  enum class Stage { kFed, kRunning, kCollecting };

  static std::unexpected<Error> out_of_turn(const Frame& frame) {
    return broken(fmt::format("the worker sent a {} frame out of turn", frame_name(frame.type)));
  }

  Result<void> on_output(const Frame& frame, Bytes& total, Bytes limit) {
    if (stage_ != Stage::kRunning || frame.payload.empty()) return out_of_turn(frame);
    total += frame.payload.size();
    if (total > limit) return broken(fmt::format("the worker sent more than {} bytes of output", limit));
    return {};
  }

  Result<void> on_artifact(const Frame& frame) {
    if (stage_ == Stage::kFed || artifact_rest_ > 0) return out_of_turn(frame);
    stage_ = Stage::kCollecting;
    const auto header = TRY(decode<ArtifactHeader>(frame.payload));
    if (header.skipped.empty()) {
      artifact_rest_ = header.bytes;
      ++artifacts_;
      if (header.bytes > limits_.artifacts_bytes - artifacts_bytes_ || artifacts_ > limits_.artifacts) {
        return broken("the worker sent more artifacts than its limits allow");
      }
      artifacts_bytes_ += header.bytes;
    } else if (++skipped_ > limits_.scratch_inodes) {
      return broken("the worker named more artifacts than its scratch space can hold");
    }
    if (sink_ != nullptr) sink_->on_artifact(header);
    return {};
  }

  const Limits& limits_;
  JobSink* sink_;
  Stage stage_ = Stage::kFed;
  Bytes stdout_bytes_ = 0, stderr_bytes_ = 0, artifacts_bytes_ = 0;
  Bytes artifact_rest_ = 0;  // of the artifact announced last, still to come
  std::uint64_t artifacts_ = 0, skipped_ = 0;
};

class Session {
 public:
  Session(Lease lease, const RunRequest& request, JobSink& sink, const SessionWatch& watch)
      : lease_(std::move(lease)), watch_(watch), sink_(&sink), feed_(request), listener_(lease_.limits(), sink),
        timeout_(Millis{static_cast<std::int64_t>(request.job.timeout_ms)}) {}

  Result<ExitReport> run() {
    auto report = converse();
    // A worker that was too slow may be about to begin, so its job is not given away.
    if (!report && report.error().fault == Fault::kWorkerLost && !listener_.started() && !overdue_) {
      if (client_gone_) return cancelled_by_client();
      report.error().fault = Fault::kNotStarted;
    }
    return report;
  }

 private:
  Result<ExitReport> converse() {
    for (;;) {
      TRY(feed());
      auto report = TRY(listen());
      if (report) return finish(std::move(*report));
      TRY(wait());
    }
  }

  Channel& channel() { return lease_.channel(); }

  // As much as the worker takes now.
  Result<void> feed() {
    while (!feed_.done()) {
      for (std::size_t i = 0; i < kFeedAhead && !feed_.done(); ++i) feed_.queue_next(channel());
      if (feed_.done()) {
        runs_until_ = Deadline::in(timeout_);
        deadline_ = Deadline::in(timeout_ + watch_.margin);
        if (cancelled_) queue_cancel();
      }
      TRY(flush());
      if (channel().wants_write()) return {};
    }
    return flush();
  }

  // A worker that gives up early, because a file does not fit say, may have closed its end: what it said counts, and
  // it is read next.
  Result<void> flush() {
    if (!channel().wants_write()) return {};
    auto flushed = channel().flush();
    if (!flushed) {
      auto report = TRY(listen());
      if (report) early_report_ = std::move(report);
      else return std::unexpected(std::move(flushed.error()));
    }
    return {};
  }

  // Every frame that is there.
  Result<std::optional<ExitReport>> listen() {
    if (early_report_) return std::exchange(early_report_, std::nullopt);
    while (!sink_waits()) {
      std::optional<Frame> frame = TRY(channel().try_receive());
      if (!frame) return std::nullopt;
      // Once its time is over a job is given the margin anew with each sign of life: a slow client may hold up its
      // worker for long, and many artifacts take their time.
      if (feed_.done() && runs_until_.passed()) deadline_ = Deadline::in(watch_.margin);
      auto report = TRY(listener_.on_frame(*frame));
      if (report) return report;
      flush_sink();
      if (watch_.client_fd >= 0 || watch_.drain_now != nullptr) look_around();
    }
    return std::nullopt;
  }

  Result<void> wait() {
    const bool holds_back = sink_waits();
    if (holds_back && runs_until_.passed() && !time_over_) {
      time_over_ = Overtime{Clock::now(), sink_->taken()};
    }
    std::array<pollfd, 2> entries = {
        pollfd{.fd = channel().fd(), .events = POLLIN, .revents = 0},
        watch_client(client_gone_ ? -1 : watch_.client_fd),
    };
    if (holds_back) {
      entries[0] = {.fd = channel().wants_write() ? channel().fd() : -1, .events = 0, .revents = 0};
      entries[1].events |= POLLOUT;
    }
    if (channel().wants_write()) entries[0].events |= POLLOUT;
    TRY(sys::poll(entries, wake_time(holds_back)));
    if (hung_up(entries[1])) on_client_gone("the client went away");
    look_for_drain();
    if (holds_back) {
      take_care_of_reader();
    } else if (entries[0].revents == 0 && deadline_.passed()) {
      overdue_ = true;
      return broken(feed_.done() ? "the worker did not end its job in time" : "the worker does not take its job");
    } else if (!client_gone_ && sink_->silent_until().passed()) {
      sink_->on_silence();
      flush_sink();
    }
    return {};
  }

  Deadline wake_time(bool holds_back) const {
    const bool drains = watch_.drain_now != nullptr && !cancelled_;
    const Deadline own = !holds_back  ? deadline_.earlier(sink_silence())
                         : time_over_ ? reading_deadline()
                                      : runs_until_;
    return drains ? own.earlier(Deadline::in(kDrainLook)) : own;
  }
  Deadline sink_silence() const { return client_gone_ ? Deadline::never() : sink_->silent_until(); }

  // ---- the client as the reader of live output

  bool sink_waits() const { return !client_gone_ && sink_->wants_write(); }
  void flush_sink() {
    if (sink_waits() && !sink_->flush()) on_client_gone("the client went away");
  }
  // It may make its script wait as long as that may run. After that it has to take what is left, at some pace at least.
  void take_care_of_reader() {
    flush_sink();
    if (!time_over_) return;
    if (!sink_waits()) deadline_ = Deadline::in(watch_.margin);  // frames may have been waiting all this time
    else if (reading_deadline().passed()) on_client_gone("the client does not read");
  }
  Deadline reading_deadline() const {
    const Millis earned((sink_->taken() - time_over_->taken) * 1000 / watch_.bytes_per_second);
    return Deadline::in(watch_.patience + earned - std::chrono::duration_cast<Millis>(since(time_over_->since)));
  }

  // Between frames: a job that writes without pause must not keep its client's departure unseen.
  void look_around() {
    look_for_drain();
    if (client_gone_ || watch_.client_fd < 0 || ++frames_ % 16 != 0) return;
    std::array<pollfd, 1> entries = {watch_client(watch_.client_fd)};
    if (sys::poll(entries, Deadline::in(Millis{0})) && hung_up(entries[0])) on_client_gone("the client went away");
  }

  void look_for_drain() {
    if (cancelled_ || watch_.drain_now == nullptr || !watch_.drain_now->load(std::memory_order_relaxed)) return;
    cancel(CancelReason::kDrain);
  }

  void on_client_gone(std::string_view why) {
    if (client_gone_) return;
    client_gone_ = true;
    gone_why_ = why;
    listener_.go_deaf();
    cancel(CancelReason::kClientGone);
  }

  // A Cancel is heard only after Run, and a request is always fed to its end: files are promised by their length.
  void cancel(CancelReason reason) {
    cancel_reason_ = reason;
    if (feed_.done()) queue_cancel();
    cancelled_ = true;
  }
  void queue_cancel() {
    channel().queue(FrameType::kCancel, encode(CancelOrder{cancel_reason_}));
    runs_until_ = Deadline::in(Millis{0});
    deadline_ = Deadline::in(watch_.margin);
  }

  // From the first time that the client kept something waiting when the job's time was over.
  struct Overtime {
    Clock::time_point since;
    Bytes taken;  // by the client until then
  };

  Result<ExitReport> finish(ExitReport report) {
    // A worker that ended the job before it had heard all of it may be anywhere in the conversation: it is replaced.
    if (feed_.done() && !channel().wants_write()) lease_.finished();
    if (client_gone_) return cancelled_by_client();
    return report;
  }
  std::unexpected<Error> cancelled_by_client() const {
    return fail(Fault::kClient, fmt::format("cancelled: {}", gone_why_));
  }

  Lease lease_;
  const SessionWatch& watch_;
  JobSink* sink_;
  Feed feed_;
  Listener listener_;
  Millis timeout_;
  Deadline deadline_ = Deadline::in(kFeedLimit);
  Deadline runs_until_ = Deadline::never();
  std::optional<ExitReport> early_report_;
  CancelReason cancel_reason_ = CancelReason::kClientGone;
  bool client_gone_ = false, cancelled_ = false, overdue_ = false;
  std::string_view gone_why_;
  std::optional<Overtime> time_over_;
  std::uint64_t frames_ = 0;
};

}  // namespace

Result<ExitReport> run_session(Lease lease, const RunRequest& request, JobSink& sink, const SessionWatch& watch) {
  return Session(std::move(lease), request, sink, watch).run();
}

}  // namespace coderunner
