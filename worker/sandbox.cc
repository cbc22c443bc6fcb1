// Role: see sandbox.h.
#include "worker/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>

#include <fmt/format.h>

#include "common/sys.h"
#include "worker/descriptors.h"
#include "worker/init.h"
#include "worker/mounts.h"
#include "worker/namespaces.h"
#include "worker/process_tree.h"
#include "worker/verdict.h"

namespace coderunner {
namespace {

constexpr Millis kReapEvery{20};
constexpr Millis kEndLimit{10'000};  // a kill that has no effect for so long is a broken machine

std::unexpected<Error> failed(SetupStep step, const Error& error) {
  return fail(Fault::kSandbox, fmt::format("{}: {}", step_name(step), error.message));
}

// What a pipe holds now, up to 64 KiB; empty when there is nothing. Others may still have it open for writing.
std::string read_now(int fd) {
  std::string bytes(kMaxPayload, '\0');
  const auto count = sys::set_nonblocking(fd, true) ? sys::read_some(fd, bytes) : std::nullopt;
  bytes.resize(count && *count ? **count : 0);
  return bytes;
}

}  // namespace

Result<Sandbox> Sandbox::park(const Jail& jail, Template* warm) {
  Sandbox box;
  if (auto made = box.make_folders(jail); !made) return failed(SetupStep::kWorkingDirectory, made.error());

  Pipe in = TRY(sys::make_pipe()), out = TRY(sys::make_pipe()), err = TRY(sys::make_pipe());
  Pipe go = TRY(sys::make_pipe()), report = TRY(sys::make_pipe()), status = TRY(sys::make_pipe()), life = TRY(sys::make_pipe());
  Pipe handover = TRY(sys::make_socket_pair());
  const InitKit kit{
      .plan = &jail.plan,
      .cgroup = jail.cgroup ? &*jail.cgroup : nullptr,
      .scratch = box.scratch_.get(),
      .status = status.write.get(),
      .life = life.read.get(),
      .warm = warm != nullptr,
      .runner = {.plan = &jail.plan,
                 .rlimits = &jail.rlimits,
                 .filter = &jail.filter,
                 .stdin_fd = in.read.get(),
                 .stdout_fd = out.write.get(),
                 .stderr_fd = err.write.get(),
                 .go_fd = go.read.get(),
                 .report_fd = report.write.get(),
                 .report_number = report_fd(jail.setup.limits),
                 .handover_fd = handover.write.get(),
                 .landlock_abi = jail.landlock_abi},
  };
  auto init = jail.full() ? clone_init() : fork_init();
  if (!init) return failed(SetupStep::kInit, init.error());
  if (!init->running()) {
    life.write.reset();
    run_init(kit);
  }
  box.init_ = std::move(*init);
  box.stdin_write = std::move(in.write);
  box.stdout_read = std::move(out.read);
  box.stderr_read = std::move(err.read);
  box.go_write_ = std::move(go.write);
  box.report_read = std::move(report.read);
  box.status_read = std::move(status.read);
  box.life_write_ = std::move(life.write);
  TRY(sys::set_nonblocking(box.stdin_write.get(), true));
  TRY(sys::set_nonblocking(box.report_read.get(), true));
  TRY(sys::set_nonblocking(box.status_read.get(), true));
  if (warm != nullptr) {
    box.template_pid_ = warm->pid();
    const RunnerEnds ends{box.init_.pidfd(), in.read.get(), out.write.get(), err.write.get(),
                          go.read.get(),     report.write.get(), status.write.get(), handover.write.get()};
    if (auto forked = box.fork_warm(jail, *warm, ends); !forked) return failed(SetupStep::kPark, forked.error());
  }
  // The other ends close here, at the latest: init, the template and the runner hold theirs.
  in.read.reset();
  out.write.reset();
  err.write.reset();
  report.write.reset();
  status.write.reset();
  handover.write.reset();
  if (auto parked = box.await_parked(jail.filter.notifies ? handover.read.get() : -1); !parked) return failed(SetupStep::kPark, parked.error());
  return box;
}

// The runner goes into namespaces that stand.
Result<void> Sandbox::fork_warm(const Jail& jail, Template& warm, const RunnerEnds& ends) {
  pollfd entry{status_read.get(), POLLIN, 0};
  InitStatus status{};
  const bool told = TRY(sys::poll({&entry, 1}, Deadline::in(kParkLimit))) != 0 &&
                    TRY(sys::read_some(status_read.get(), {reinterpret_cast<char*>(&status), sizeof status})) == sizeof status;
  if (!told) return fail(Fault::kSandbox, "init does not start");
  if (status.kind != InitStatus::Kind::kBuilt) {
    init_.kill(SIGKILL);
    return fail(Fault::kSandbox, read_now(status_read.get()));
  }
  TRY(warm.fork_runner(jail, ends));
  if (TRY(sys::poll({&entry, 1}, Deadline::in(kParkLimit))) == 0) return fail(Fault::kSandbox, "the template does not answer");
  const auto forked = TRY(sys::read_some(status_read.get(), {reinterpret_cast<char*>(&status), sizeof status}));
  if (!forked || *forked != sizeof status || status.kind != InitStatus::Kind::kForked)
    return fail(Fault::kSandbox, "the template did not fork: " + read_now(status_read.get()));
  runner_pid_ = status.wait_status;
  return {};
}

Result<void> Sandbox::make_folders(const Jail& jail) {
  UniqueFd work;
  if (jail.full()) {
    scratch_ = TRY(make_scratch(jail.plan));
    work = TRY(sys::open_at(scratch_.get(), jail.plan.scratch.front().folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  } else {
    folders_.emplace(TRY(make_reduced(jail.setup.temp_dir, jail.setup.index)));
    TRY(reclaim_bootstrap(jail.plan));
    work = TRY(sys::open_at(folders_->root.get(), jail.plan.scratch.front().folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  }
  workdir_.emplace(std::move(work), jail.setup.limits);
  return workdir_->prepare();
}

// `handover`: brings the listener of the runner's filter, before anything that the filter could refuse; or -1.
Result<void> Sandbox::await_parked(int handover) {
  const Deadline deadline = Deadline::in(kParkLimit);
  std::string heard;
  for (;;) {
    std::array<pollfd, 4> entries = {{{report_read.get(), POLLIN, 0},
                                      {status_read.get(), POLLIN, 0},
                                      {handover, POLLIN, 0},
                                      {denials.fd(), POLLIN, 0}}};
    if (TRY(sys::poll(entries, deadline)) == 0)
      return fail(Fault::kSandbox, fmt::format("the interpreter did not start within {} ms", kParkLimit.count()));
    if ((entries[2].revents & POLLIN) != 0) {
      denials = Denials(TRY(receive_descriptor(handover)));
      handover = -1;
    }
    if (entries[2].revents == POLLHUP) handover = -1;  // the runner has ended: the status pipe tells of it
    if (entries[3].revents != 0) denials.answer();
    std::array<char, 256> buffer{};
    if ((entries[0].revents & POLLIN) != 0) {
      const auto count = TRY(sys::read_some(report_read.get(), buffer));
      if (count) heard.append(buffer.data(), *count);
      const auto report = parse_boot_report(heard);
      if (!report.version.empty() && heard.ends_with('\0')) {
        python_version_ = report.version;
        return {};
      }
    }
    if (entries[1].revents != 0) {
      init_.kill(SIGKILL);  // or its end of the error stream would stay open
      TRY(init_.wait(Deadline::in(kEndLimit)));
      const std::string status = read_now(status_read.get());
      const std::string said = read_now(stderr_read.get());
      std::string reason = status.size() > sizeof(InitStatus) ? status.substr(sizeof(InitStatus)) : "the interpreter ended";
      if (!said.empty()) reason += ": " + said;
      return fail(Fault::kSandbox, reason);
    }
  }
}

Result<void> Sandbox::release(const JobSpec& job) {
  denials.forget();  // the interpreter's own
  const std::string message = encode_runner_message(job);  // fits an empty pipe: at most some 50 KiB by the contract
  TRY(sys::write_all(go_write_.get(), message));
  go_write_.reset();
  return {};
}

bool Sandbox::over() const {
  const auto childless = [](pid_t pid) {
    const auto children = sys::read_file(fmt::format("/proc/{0}/task/{0}/children", pid));
    return children && children->empty();
  };
  if (template_pid_ > 0) {
    const auto proc = ProcDir::open();
    if (!proc || runner_pid_ <= 0) return false;
    const auto runner = proc->look_up(runner_pid_);
    if (runner && !(runner->exiting && runner->threads == 1 && (runner->ended() || childless(runner_pid_)))) return false;
  }
  return childless(init_.pid());
}

Result<ExitStatus> Sandbox::end() {
  if (ended_) return *ended_;
  init_.kill(SIGKILL);
  // At the full level the kernel ends the whole namespace before it lets init end (pid_namespaces(7)).
  // It waits for them to be reaped, too: init does that, or the template, or when that is lost, this process.
  const Deadline limit = Deadline::in(kEndLimit);
  auto status = TRY(init_.wait(limit.earlier(Deadline::in(kReapEvery))));
  while (!status && !limit.passed()) {
    if (runner_pid_ > 0) ::waitpid(runner_pid_, nullptr, WNOHANG);
    status = TRY(init_.wait(limit.earlier(Deadline::in(kReapEvery))));
  }
  if (!status) return fail(Fault::kSandbox, "the job's init does not end");
  if (folders_) TRY(kill_descendants(KillScope{}));
  ended_ = *status;
  return *ended_;
}

Result<void> Sandbox::clean(const Jail& jail) {
  workdir_.reset();
  if (!folders_) return {};
  folders_.reset();
  return remove_reduced(jail.setup.temp_dir, jail.setup.index);
}

}  // namespace coderunner
