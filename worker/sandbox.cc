// Role: see sandbox.h.
#include "worker/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "common/frame.h"
#include "common/sys.h"
#include "worker/descriptors.h"
#include "worker/init.h"
#include "worker/landlock.h"
#include "worker/memory_watch.h"
#include "worker/mounts.h"
#include "worker/namespaces.h"
#include "worker/process_tree.h"

namespace coderunner {
namespace {

constexpr Millis kReapEvery{20};
constexpr Millis kForkLimit{3'000};  // for a template to fork, which takes it milliseconds
constexpr Millis kReapLimit{1'000};  // for a template to reap a runner that has ended
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

// The next record, which surely comes, unless init ends or everybody who could write it.
Result<InitStatus> await_status(StatusPipe& status, const Child& init, std::string_view from, Millis limit) {
  const Deadline deadline = Deadline::in(limit);
  for (;;) {
    if (const auto heard = TRY(status.next())) return *heard;
    std::array<pollfd, 2> entries = {{{status.fd(), POLLIN, 0}, {init.pidfd(), POLLIN, 0}}};
    if (status.closed()) return fail(Fault::kSandbox, fmt::format("{} has ended", from));
    if (TRY(sys::poll(entries, deadline)) == 0) return fail(Fault::kSandbox, fmt::format("{} does not answer", from));
    if (entries[0].revents == 0) return fail(Fault::kSandbox, "init has ended");
  }
}

// Children of this process that are neither an init nor of its own PID namespace: runners whose template has died,
// maybe before it could tell their number.
void reap_lost_runners() {
  const auto children = children_of(::getpid());
  const auto proc = ProcDir::open();
  if (!children || !proc) return;
  for (const pid_t pid : *children) {
    std::array<char, 8 * 1024> buffer;
    std::string_view numbers = proc->read(pid, "status", buffer).value_or("");
    // "NSpid:", its number here, then the one inside: 1 is an init (proc(5)).
    numbers = numbers.substr(std::min(numbers.find("\nNSpid:\t"), numbers.size()));
    numbers = numbers.substr(std::min<std::size_t>(8, numbers.size()));
    numbers = numbers.substr(0, numbers.find('\n'));
    const std::size_t inside = numbers.rfind('\t');
    if (inside != 0 && inside != numbers.npos && numbers.substr(inside) != "\t1") ::waitpid(pid, nullptr, WNOHANG);
  }
}

// 0: none.
pid_t first_child(const ProcDir& proc, pid_t pid) {
  if (const auto children = children_of(pid)) return children->empty() ? 0 : children->front();
  const auto below = descendants(proc, pid);
  return below && !below->empty() ? below->front().pid : 0;
}

bool childless(pid_t pid) {
  const auto children = children_of(pid);
  return children && children->empty();
}

// Whether this process may see what /proc keeps from strangers (ptrace(2), PTRACE_MODE_READ_FSCREDS), proc(5)'s
// exit_code among it.
bool may_look_into(pid_t pid) {
  std::array<char, 64> target;
  return ::readlink(fmt::format("/proc/{}/ns/user", pid).c_str(), target.data(), target.size()) > 0;
}

// Of a process and its threads, dead ones included, without what its children used. In nanoseconds by the clock that
// clock_getcpuclockid(3) would name; nobody has to allow it.
std::optional<std::uint64_t> processor_time_us(pid_t pid) {
  constexpr unsigned kScheduled = 2;  // include/linux/posix-timers_types.h: CPUCLOCK_SCHED
  timespec used{};
  if (::clock_gettime(static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | kScheduled), &used) != 0)
    return std::nullopt;
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(used.tv_nsec) / 1000;
}

}  // namespace

// The next one may well have a folder of another name: what has come of this one would stay.
struct Sandbox::Undo {
  Sandbox* box;
  ~Undo() {
    if (box == nullptr) return;
    if (box->init_.running()) (void)box->end();
    (void)box->clean();
  }
};

Result<Sandbox> Sandbox::park(const Jail& jail, Template* warm, std::vector<pid_t> spared) {
  const JailPlan& plan = warm != nullptr ? warm->plan() : jail.plan;
  Sandbox box;
  Undo undo{&box};
  if (warm != nullptr) {
    box.kind_ = warm->kind();
    box.template_ = warm->pid();
  }
  box.templates_ = std::move(spared);
  if (auto made = box.make_folders(jail, plan); !made) return failed(SetupStep::kWorkingDirectory, made.error());

  Pipe in = TRY(sys::make_pipe()), out = TRY(sys::make_pipe()), err = TRY(sys::make_pipe());
  Pipe go = TRY(sys::make_pipe()), report = TRY(sys::make_pipe()), status = TRY(sys::make_pipe()),
       life = TRY(sys::make_pipe());
  Pipe handover = TRY(sys::make_socket_pair());
  const InitKit kit{
      .plan = &plan,
      .cgroup = jail.cgroup ? &*jail.cgroup : nullptr,
      .scratch = box.scratch_.get(),
      .status = status.write.get(),
      .life = life.read.get(),
      .warm = warm != nullptr,
      .runner = {.plan = &plan,
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
  box.status = StatusPipe(std::move(status.read));
  box.life_write_ = std::move(life.write);
  TRY(sys::set_nonblocking(box.stdin_write.get(), true));
  TRY(sys::set_nonblocking(box.report_read.get(), true));
  TRY(sys::set_nonblocking(box.status.fd(), true));
  if (warm != nullptr) {
    const RunnerEnds ends{-1,                in.read.get(), out.write.get(), err.write.get(),
                          go.read.get(),     report.write.get(), status.write.get(), handover.write.get()};
    if (auto ordered = box.order_runner(jail, *warm, ends); !ordered) return failed(SetupStep::kPark, ordered.error());
  }
  // Init, the template and the runner hold their ends. Ours close before anything is waited for: the end of those who
  // hold the others must show.
  in.read.reset();
  out.write.reset();
  err.write.reset();
  report.write.reset();
  status.write.reset();
  handover.write.reset();
  if (warm != nullptr)
    if (auto forked = box.await_fork(); !forked) return failed(SetupStep::kPark, forked.error());
  if (auto parked = box.await_parked(jail.filter.notifies ? handover.read.get() : -1); !parked)
    return failed(SetupStep::kPark, parked.error());
  box.know_runner();
  undo.box = nullptr;
  return box;
}

// The runner goes into namespaces that stand, or shuts itself in by rules that name what is there.
Result<void> Sandbox::order_runner(const Jail& jail, Template& warm, RunnerEnds ends) {
  const auto built = TRY(await_status(status, init_, "init", kParkLimit));
  if (built.kind != InitStatus::Kind::kBuilt) {
    init_.kill(SIGKILL);
    return fail(Fault::kSandbox, status.rest());
  }
  UniqueFd ruleset;
  if (!jail.full()) {
    const JailPlan& plan = warm.plan();
    ruleset = TRY(make_landlock_ruleset({plan.read_only_paths, plan.read_write_paths, plan.network},
                                        jail.landlock_abi));
  }
  ends.walls = jail.full() ? init_.pidfd() : ruleset.get();
  return warm.fork_runner(jail, ends);
}

Result<void> Sandbox::await_fork() {
  const auto forked = TRY(await_status(status, init_, "the template", kForkLimit));
  if (forked.kind != InitStatus::Kind::kForked)
    return fail(Fault::kSandbox, "the template did not fork: " + status.rest());
  runner_pid_ = forked.wait_status;
  runner_pidfd_.reset(static_cast<int>(TRY(sys::retry("pidfd_open(runner)", [&] {
    return ::syscall(SYS_pidfd_open, runner_pid_, 0);
  }))));
  // Now, and not when it has parked: until then its template may be stopped, too, and end() has to know it again.
  const auto proc = ProcDir::open();
  const auto runner = proc ? proc->look_up(runner_pid_) : std::nullopt;
  if (runner) runner_start_ = runner->start_time;
  template_ = 0;
  return {};
}

void Sandbox::know_runner() {
  const auto proc = ProcDir::open();
  if (!warm() && proc) runner_pid_ = first_child(*proc, init_.pid());  // init's only one until the job comes
  const auto runner = proc ? proc->look_up(runner_pid_) : std::nullopt;
  if (!runner) return;
  runner_start_ = runner->start_time;
  std::array<char, 8 * 1024> buffer;
  if (const auto text = proc->read(runner_pid_, "status", buffer)) parked_memory_ = parse_kilobytes(*text, "VmHWM:");
}

Result<void> Sandbox::make_folders(const Jail& jail, const JailPlan& plan) {
  UniqueFd work;
  if (jail.full()) {
    scratch_ = TRY(make_scratch(plan));
    work = TRY(sys::open_at(scratch_.get(), plan.scratch.front().folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  } else {
    folder_ = plan.folder;
    folders_.emplace(TRY(make_reduced(folder_)));
    TRY(reclaim_bootstrap(jail));
    work = TRY(sys::open_at(folders_->root.get(), plan.scratch.front().folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
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
                                      {status.fd(), POLLIN, 0},
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
      const auto heard = TRY(status.next());
      if (!heard && warm() && well()) continue;  // its template has died, and is not needed any more
      init_.kill(SIGKILL);  // or its end of the error stream would stay open
      TRY(end());
      std::string reason = status.rest();
      const std::string said = read_now(stderr_read.get());
      if (reason.empty()) reason = "the interpreter ended";
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

bool Sandbox::well() const {
  const auto proc = ProcDir::open();
  return proc && proc->lives(init_.pid()) && (runner_pid_ <= 0 || proc->lives(runner_pid_));
}

std::optional<ProcessInfo> Sandbox::look_at_runner(const ProcDir& proc) const {
  auto runner = proc.look_up(runner_pid_);
  return runner && runner->start_time == runner_start_ ? runner : std::nullopt;
}

std::vector<pid_t> Sandbox::threads() const {
  const auto proc = ProcDir::open();
  return proc && look_at_runner(*proc) ? proc->threads(runner_pid_) : std::vector<pid_t>();
}

// No pidfd leads to one thread alone before Linux 6.9. One that has been stopped looks at no signal.
void Sandbox::ask_for_stacks(pid_t thread, StackValue which) const {
  const auto proc = ProcDir::open();
  if (!proc || !look_at_runner(*proc)) return;
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  info.si_value.sival_int = static_cast<int>(which);
  (void)::syscall(SYS_rt_tgsigqueueinfo, runner_pid_, thread, kStackSignal, &info);
  (void)::tgkill(runner_pid_, thread, SIGCONT);
}

std::vector<pid_t> Sandbox::keepers() const {
  std::vector<pid_t> pids = templates_;
  pids.push_back(init_.pid());
  return pids;
}

bool Sandbox::is_template(pid_t pid) const { return std::ranges::find(templates_, pid) != templates_.end(); }

// A warm runner's ancestors are the template and this process, which is who gets its orphans where there is no PID
// namespace with an init of its own.
void Sandbox::reap_orphans() const {
  if (!warm() || !folders_) return;
  for (const pid_t pid : children_of(::getpid()).value_or(std::vector<pid_t>{}))
    if (pid != init_.pid() && pid != runner_pid_ && !is_template(pid)) ::waitpid(pid, nullptr, WNOHANG);
}

bool Sandbox::without_orphans(const ProcDir& proc) const {
  if (!warm() || !folders_) return childless(init_.pid());
  const auto children = children_of(::getpid());
  return children && std::ranges::all_of(*children, [&](pid_t pid) {
    if (pid == init_.pid() || pid == runner_pid_ || is_template(pid)) return true;
    const auto process = proc.look_up(pid);
    return !process || process->ended() || is_template(process->session);
  });
}

bool Sandbox::over() const {
  const auto proc = ProcDir::open();
  return proc && over(*proc);
}

bool Sandbox::over(const ProcDir& proc) const {
  if (warm()) {
    if (runner_pid_ <= 0) return false;
    const auto runner = look_at_runner(proc);
    if (runner && !(runner->exiting && runner->threads == 1 && (runner->ended() || childless(runner_pid_))))
      return false;
  }
  return without_orphans(proc);
}

std::optional<InitStatus> Sandbox::early_end(const ProcDir& proc, const BootReport::Ended& word,
                                             Bytes memory_limit) const {
  const auto runner = look_at_runner(proc);
  if (!runner) return std::nullopt;
  if (runner->wait_status == 0 && !may_look_into(runner_pid_)) return std::nullopt;
  const auto own = processor_time_us(runner_pid_);
  // Below half of what the parked runner held, or far above the limit, it can not be: libraries count here, too.
  const bool possible = word.peak_memory_bytes >= parked_memory_ / 2 && word.peak_memory_bytes <= memory_limit + kGiB;
  if (!own || !possible) return std::nullopt;
  const std::uint64_t children = runner->child_ticks * 1'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return InitStatus{InitStatus::Kind::kEnded, runner->wait_status, *own + children, word.peak_memory_bytes};
}

// do_exit() (kernel/exit.c) notes the status, then lets go of the memory, and then tears that down, which is what takes
// long. So the status is read when the memory has been seen to be gone, not along with that sight, which it may
// precede. Without memory nothing is left to be hidden by PR_SET_DUMPABLE either. A first thread may end alone
// (pthread_exit(3)): as long as there are others the process has not ended.
// Nothing wakes anyone between a runner's exit_group(2) and its being torn down: so look again and again, for the few
// microseconds that it takes.
std::optional<Sandbox::EarlyEnd> Sandbox::await_early_end(const BootReport::Ended& word, Bytes memory_limit) const {
  constexpr timespec kPause{0, 20'000};
  const auto proc = ProcDir::open();
  if (!proc || !warm()) return std::nullopt;
  for (const Deadline limit = Deadline::in(kEarlyLimit); !limit.passed(); ::nanosleep(&kPause, nullptr)) {
    const auto runner = look_at_runner(*proc);
    if (!runner) break;  // reaped: told already
    if (!runner->exiting || runner->mapped || runner->threads > 1) continue;
    const auto status = early_end(*proc, word, memory_limit);
    return status ? std::optional(EarlyEnd{*status, over(*proc)}) : std::nullopt;
  }
  return std::nullopt;
}

// A process that ends closes its descriptors, by which its end is noticed, before it gives its children away.
Result<InitStatus> Sandbox::reap_runner() {
  constexpr timespec kPause{0, 1'000'000};
  const Deadline limit = Deadline::in(kEndLimit);
  for (;;) {
    int wait_status = 0;
    rusage usage{};
    const auto reaped = sys::retry("wait4(runner)", [&] {
      return ::wait4(runner_pid_, &wait_status, WNOHANG, &usage);
    });
    if (reaped && *reaped > 0) return make_status(InitStatus::Kind::kEnded, wait_status, usage);
    if (limit.passed()) return fail(Fault::kSandbox, "a runner that has lost its template can not be reaped");
    ::nanosleep(&kPause, nullptr);
  }
}

// Its runner becomes a child of this process then.
void Sandbox::end_idle_template() {
  pollfd runner{runner_pidfd_.get(), POLLIN, 0};
  if (!warm() || (template_ == 0 && ::poll(&runner, 1, 0) != 1)) return;
  if (!reap_limit_) reap_limit_ = Deadline::in(kReapLimit);
  if (!reap_limit_->passed()) return;
  if (template_ != 0) ::kill(template_, SIGKILL);  // only while park() fails: whoever called it still has that child
  const auto proc = ProcDir::open();
  const auto dead = proc ? look_at_runner(*proc) : std::nullopt;
  const bool waits = dead && dead->ended();
  if (waits && is_template(dead->parent)) ::kill(dead->parent, SIGKILL);  // a child of ours that has not been reaped
}

Sandbox::~Sandbox() {
  if (init_.running()) (void)end();
}

Result<ExitStatus> Sandbox::end() {
  if (ended_) return *ended_;
  init_.kill(SIGKILL);
  // At the full level the kernel ends the whole namespace before it lets init end (pid_namespaces(7)).
  // It waits for them to be reaped, too: init does that, or the template, or when that is lost, this process.
  const Deadline limit = Deadline::in(kEndLimit);
  auto status = TRY(init_.wait(limit.earlier(Deadline::in(kReapEvery))));
  while (!status && !limit.passed()) {
    end_idle_template();
    reap_lost_runners();
    status = TRY(init_.wait(limit.earlier(Deadline::in(kReapEvery))));
  }
  if (!status) return fail(Fault::kSandbox, "the job's init does not end");
  if (folders_) TRY(kill_descendants({.spared = templates_}));
  ended_ = *status;
  return *ended_;
}

Result<void> Sandbox::clean() {
  workdir_.reset();
  if (!folders_) return {};
  folders_.reset();
  return remove_reduced(folder_);
}

}  // namespace coderunner
