// Role: coderunner-worker: park a sandbox, say Ready, take a job, run it, again. A contents page.
// Callers: the supervisor starts it with an empty environment and one socket; `--print-plan` and `--print-policy` are
// for people.
// Law: single-threaded. The first thing out of turn, or the end of the socket, ends it and all that it holds.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "common/channel.h"
#include "common/sys.h"
#include "common/wire.h"
#include "worker/jail.h"
#include "worker/leak_sentinel.h"
#include "worker/policy_text.h"
#include "worker/process_title.h"
#include "worker/run_job.h"
#include "worker/sandbox.h"
#include "worker/templates.h"

namespace coderunner {
namespace {

constexpr int kChannelFd = 3;
constexpr Millis kTellLimit{10'000};   // for a frame to a supervisor that is surely reading
constexpr Millis kJobLimit{60'000};    // for all frames of one job to arrive

std::unexpected<Error> out_of_turn(const Frame& frame) {
  return fail(Fault::kWorkerLost, fmt::format("{} out of turn", frame_name(frame.type)));
}

Result<Frame> next_frame(Channel& channel, Deadline deadline) {
  auto frame = TRY(channel.receive(deadline));
  if (!frame) return fail(Fault::kWorkerLost, "the supervisor has fallen silent in the middle of a job");
  return std::move(*frame);
}

// A file that can not be written costs its job, frames that make no sense cost the connection. After the first
// trouble the rest of the job's frames is read and means nothing.
Result<void> note(Job& job, Result<void> written) {
  if (written || job.trouble) return {};
  if (written.error().fault == Fault::kWorkerLost) return written;
  job.trouble = std::move(written.error());
  return {};
}

// The rest of a job: its files, its input, up to Run.
Result<void> receive_rest(Channel& channel, Sandbox& sandbox, Job& job) {
  const Deadline deadline = Deadline::in(kJobLimit);
  for (;;) {
    const Frame frame = TRY(next_frame(channel, deadline));
    switch (frame.type) {
      case FrameType::kFile:
        TRY(note(job, sandbox.workdir().begin_file(TRY(decode<FileHeader>(frame.payload)))));
        break;
      case FrameType::kFileData: TRY(note(job, sandbox.workdir().append(frame.payload))); break;
      case FrameType::kStdinData: job.stdin_bytes += frame.payload; break;
      case FrameType::kRun:
        if (!job.trouble && !sandbox.workdir().complete()) return out_of_turn(frame);
        return {};
      default: return out_of_turn(frame);
    }
  }
}

// A template that fails costs no job: the sandbox is parked without.
Result<Sandbox> park(const Jail& jail, Templates& templates) {
  if (WarmUp* best = templates.best()) {
    auto parked = Sandbox::park(jail, best->held(), templates.sessions());
    if (parked) {
      best->proved();
      return parked;
    }
    best->lost(parked.error());
  }
  return Sandbox::park(jail, nullptr, templates.sessions());
}

LeakSentinel watch_for_leaks(const Jail& jail) {
  return LeakSentinel({.cgroup = jail.cgroup ? &*jail.cgroup : nullptr,
                       .mountinfo = jail.full() ? "/proc/self/mountinfo" : ""});
}

// A worker in whose place something of a job has stayed says so and ends; its death ends what that is.
Result<void> check_nothing_left(Channel& channel, const Jail& jail, LeakSentinel& sentinel, const Templates& templates,
                                const std::string& folder) {
  const std::string left = TRY(sentinel.look(templates.all_sessions(), folder));
  if (left.empty()) return {};
  const ReadyReport last_words{jail.plan.level, "", jail.layers, 1, templates.wanted(), templates.counts(), {}};
  TRY(channel.send(FrameType::kReady, encode(last_words), Deadline::in(kTellLimit)));
  return fail(Fault::kSandbox, fmt::format("a job has left behind: {}", left));
}

Result<void> clear_away(Sandbox& sandbox, const Templates& templates) {
  sandbox.spare(templates.sessions());
  // Processes that can not be ended: nothing here can be cleared away in order, and nobody should wait for it.
  if (const auto ended = sandbox.end(); !ended) {
    std::fputs(fmt::format("coderunner-worker: {}\n", ended.error().message).c_str(), stderr);
    ::_exit(1);
  }
  return sandbox.clean();
}

// Another sandbox in place of a parked one. The old one serves until the new one stands; at the reduced level, where a
// sandbox ends by ending every process below this one, it goes first.
Result<void> replace(const Jail& jail, Sandbox& sandbox, Templates& templates) {
  if (!jail.full()) {
    TRY(clear_away(sandbox, templates));
    sandbox = TRY(park(jail, templates));
    return {};
  }
  Sandbox old = std::exchange(sandbox, TRY(park(jail, templates)));
  return clear_away(old, templates);
}

// Whether a sandbox parked now would be of more use than this one.
bool could_be_better(const Sandbox& sandbox, Templates& templates) {
  const WarmUp* best = templates.best();
  if (best == nullptr) return false;
  return !sandbox.warm() || sandbox.orphaned() || (templates.expects(best->kind()) && sandbox.kind() != best->kind());
}

Result<void> tell_ready(Channel& channel, const Jail& jail, const Sandbox& sandbox, const Templates& templates) {
  const auto living = templates.sessions();
  const ReadyReport report{jail.plan.level,    sandbox.python_version(), jail.layers, 0,
                           templates.wanted(), templates.counts(),       {living.begin(), living.end()}};
  return channel.send(FrameType::kReady, encode(report), Deadline::in(kTellLimit));
}

// Waits for the next job, and keeps the parked sandbox well meanwhile: another one takes its place when its interpreter
// has died, and when a template can fork a better one. A template that dies leaves its parked runner behind, which is
// as good as before.
Result<Frame> await_job(Channel& channel, const Jail& jail, Sandbox& sandbox, Templates& templates) {
  for (;;) {
    if (auto frame = TRY(channel.try_receive())) {
      if (frame->type == FrameType::kCancel) continue;  // of the last job: it crossed that one's Exit
      if (!sandbox.well()) TRY(replace(jail, sandbox, templates));
      return std::move(*frame);
    }
    const auto news = templates.news_fds();
    std::array<pollfd, 7> entries = {{{channel.fd(), POLLIN, 0},
                                      {sandbox.status.fd(), POLLIN, 0},
                                      {sandbox.runner_fd(), POLLIN, 0},
                                      {sandbox.init().pidfd(), POLLIN, 0},
                                      {news[0], POLLIN, 0},
                                      {news[1], POLLIN, 0},
                                      {sandbox.denials.fd(), POLLIN, 0}}};
    TRY(sys::poll(entries, templates.next_attempt()));
    if (entries.back().revents != 0) sandbox.denials.answer();
    if (entries[0].revents != 0) continue;
    const bool worse = TRY(sandbox.status.next()).has_value() || !sandbox.well();
    if (!could_be_better(sandbox, templates) && !worse) continue;
    TRY(replace(jail, sandbox, templates));
    TRY(tell_ready(channel, jail, sandbox, templates));
  }
}

// From the parked sandbox to the job's Exit. An error ends the worker, after the sandbox has been cleared away.
Result<void> serve_one(Channel& channel, const Jail& jail, Sandbox& sandbox, Templates& templates) {
  set_process_title("idle");
  const Frame order = TRY(await_job(channel, jail, sandbox, templates));
  if (order.type != FrameType::kJob) return out_of_turn(order);
  Job job;
  job.spec = TRY(decode<JobSpec>(order.payload));
  templates.expect(job.spec.packages);
  if (job.spec.packages && sandbox.kind() != TemplateKind::kPackages && templates.with_packages() != nullptr)
    TRY(replace(jail, sandbox, templates));
  TRY(receive_rest(channel, sandbox, job));
  set_process_title("busy");
  sandbox.spare(templates.sessions());
  return run_job(channel, jail, sandbox, std::move(job));
}

Result<void> serve(Channel& channel) {
  const Frame first = TRY(next_frame(channel, Deadline::in(kTellLimit)));
  if (first.type != FrameType::kSetup) return out_of_turn(first);
  const WorkerSetup setup = TRY(decode<WorkerSetup>(first.payload));
  set_process_slot(setup.index);
  set_process_title("starting");

  const auto give_up = [&](const Error& why) {
    return channel.send(FrameType::kFailed, why.message.substr(0, kMaxPayload), Deadline::in(kTellLimit));
  };
  auto jail = build_jail(setup);
  if (!jail) return give_up(jail.error());
  Templates templates(*jail);
  LeakSentinel sentinel = watch_for_leaks(*jail);
  TRY(sentinel.remember(templates.all_sessions()));
  std::optional<std::string> last_folder;
  for (;;) {
    if (last_folder) TRY(check_nothing_left(channel, *jail, sentinel, templates, *last_folder));
    auto sandbox = park(*jail, templates);
    if (!sandbox) return give_up(sandbox.error());
    TRY(tell_ready(channel, *jail, *sandbox, templates));
    templates.begin();  // no sooner: it would take its time from the first sandbox, and so from the first job
    const auto served = serve_one(channel, *jail, *sandbox, templates);
    last_folder = sandbox->folder();
    TRY(clear_away(*sandbox, templates));
    if (!served && served.error().fault == Fault::kSandbox) TRY(give_up(served.error()));
    if (!served) return served;
  }
}

int print_plan(int argc, char** argv) {
  WorkerSetup setup;
  setup.python = argc > 2 ? argv[2] : "/usr/bin/python3";
  setup.read_only_paths.assign(argv + std::min(argc, 3), argv + argc);
  setup.temp_dir = "/tmp";
  const std::string text = describe_plan(make_plan(setup, SandboxLevel::kFull, {}, {}));
  return std::fputs(text.c_str(), stdout) < 0 ? 1 : 0;
}

int print_policy() { return std::fputs(describe_policy().c_str(), stdout) < 0 ? 1 : 0; }

int usage() {
  std::fputs(
      "coderunner-worker is started by coderunner. For people: coderunner-worker --print-plan [PYTHON [PATH...]]\n"
      "or --print-policy\n", stderr);
  return 2;
}

}  // namespace
}  // namespace coderunner

int main(int argc, char** argv) {
  using namespace coderunner;
  if (argc > 1 && std::strcmp(argv[1], "--print-plan") == 0) return print_plan(argc, argv);
  if (argc > 1 && std::strcmp(argv[1], "--print-policy") == 0) return print_policy();
  if (argc > 1 && std::strcmp(argv[1], "--socket") != 0) return usage();
  keep_process_title(argc, argv, "coderunner-worker");
  ::signal(SIGPIPE, SIG_IGN);  // a script that closes its input, a supervisor that goes: both come as errors
  Channel channel{UniqueFd(kChannelFd)};
  const auto served = serve(channel);
  if (served) return 1;  // Failed has been said
  // The supervisor's own end, or its hanging up, is no news for the log.
  std::fputs(fmt::format("coderunner-worker: {}\n", served.error().message).c_str(), stderr);
  return 1;
}
