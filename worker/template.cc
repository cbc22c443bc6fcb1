// Role: see template.h.
#include "worker/template.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/frame.h"
#include "common/proc_dir.h"
#include "common/sys.h"
#include "worker/descriptors.h"
#include "worker/mounts.h"
#include "worker/namespaces.h"
#include "worker/privileges.h"
#include "worker/runner.h"
#include "worker/workdir.h"

namespace coderunner {
namespace {

constexpr int kWaitingFrom = 16;
constexpr std::string_view kNeedless{"needless\0", 9};
constexpr Millis kEndLimit{1000};  // for what has been killed to be gone

// Its own writable places: modules write caches where HOME is while they are imported, and no job must find them.
Result<void> mount_own_scratch(const JailPlan& plan) {
  TRY(sys::retry("unshare(mount)", [] { return ::unshare(CLONE_NEWNS); }));
  const UniqueFd scratch = TRY(make_scratch(plan));
  return mount_scratch(plan, scratch.get());
}

// Pipes on 0, 1 and 2: what Python learns of its standard streams at its start holds for the runners' pipes, too.
Result<void> place_descriptors(int words, int control, int filter, int pins) {
  const Pipe in = TRY(sys::make_pipe());
  struct Row {
    int from, to;
  };
  std::vector<Row> rows = {{in.read.get(), 0}, {words, 1}, {words, 2}, {control, kControlFd}, {filter, kFilterFd}};
  if (pins >= 0) rows.push_back({pins, kPinsFd});
  for (Row& row : rows)
    row.from = static_cast<int>(TRY(sys::retry("fcntl(F_DUPFD)", [&] {
      return ::fcntl(row.from, F_DUPFD_CLOEXEC, kWaitingFrom);
    })));
  for (const Row& row : rows) TRY(sys::retry("dup2", [&] { return ::dup2(row.from, row.to); }));
  const int last = rows.back().to;
  TRY(sys::retry("close_range", [last] {
    return ::close_range(static_cast<unsigned>(last) + 1, std::numeric_limits<unsigned>::max(), CLOSE_RANGE_CLOEXEC);
  }));
  return {};
}

// What would hold the template itself, so each runner sets it on its own: the limit on processes counts all of a
// user's, and a template imports while other jobs run; the one on locked memory counts what is pinned.
bool is_for_runners(const RlimitRow& row) { return row.resource == RLIMIT_NPROC || row.resource == RLIMIT_MEMLOCK; }

RlimitPlan lasting_rlimits(RlimitPlan plan) {
  std::erase_if(plan, is_for_runners);
  return plan;
}

std::string runners_rlimits(const RlimitPlan& plan) {
  std::vector<std::string> rows;
  for (const RlimitRow& row : plan)
    if (is_for_runners(row)) rows.push_back(fmt::format("{}={}", row.resource, row.hard));
  return fmt::format("CODERUNNER_RLIMITS={}", fmt::join(rows, ","));
}

// Without mounts the writable places are folders on disk, which are there already.
Result<void> enter_own_place(const JailPlan& plan) {
  if (plan.level == SandboxLevel::kFull) TRY(mount_own_scratch(plan));
  TRY(sys::retry("chdir(working directory)", [&] { return ::chdir(plan.working_directory.c_str()); }));
  return {};
}

Error become_template(const Jail& jail, TemplateKind kind, const JailPlan& plan, int words, int control, int filter) {
  const int pins = jail.pins(kind).fd();
  const auto prepare = [&]() -> Result<void> {
    TRY(sys::retry("prctl(PR_SET_PDEATHSIG)", [] { return ::prctl(PR_SET_PDEATHSIG, SIGKILL); }));
    TRY(sys::retry("setsid", [] { return ::setsid(); }));
    TRY(enter_own_place(plan));
    TRY(place_descriptors(words, control, filter, pins));
    set_usual_umask();
    ::signal(SIGPIPE, SIG_DFL);
    TRY(jail.full() ? keep_over_exec({CAP_SYS_ADMIN, CAP_SYS_CHROOT}) : drop_privileges());
    return apply_rlimits(lasting_rlimits(jail.rlimits));
  };
  std::vector<std::string> environment = template_environment(plan, jail.setup, kind == TemplateKind::kPackages);
  environment.push_back(runners_rlimits(jail.rlimits));
  if (pins >= 0) environment.push_back(fmt::format("CODERUNNER_PINS={}", kPinsFd));
  const Program interpreter(plan.argv, environment);
  if (auto prepared = prepare(); !prepared) return prepared.error();
  interpreter.exec();
  return sys::last_error("execve(template)");
}

Result<UniqueFd> filter_file(const Filter& filter) {
  UniqueFd file(static_cast<int>(TRY(sys::retry("memfd_create", [] {
    return ::memfd_create("filter", MFD_CLOEXEC);
  }))));
  const auto* bytes = reinterpret_cast<const char*>(filter.program.data());
  TRY(sys::write_all(file.get(), {bytes, filter.program.size() * sizeof(sock_filter)}));
  TRY(sys::retry("lseek", [&] { return ::lseek(file.get(), 0, SEEK_SET); }));
  return file;
}

}  // namespace

Result<Template> Template::start(const Jail& jail, TemplateKind kind, std::string_view folder) {
  const UniqueFd filter = TRY(filter_file(jail.filter));
  Pipe control = TRY(sys::make_socket_pair()), words = TRY(sys::make_pipe());
  Template made;
  made.kind_ = kind;
  made.plan_ = template_plan(jail, folder);
  if (!jail.full()) {
    TRY(make_reduced(made.plan_.folder));
    TRY(reclaim_bootstrap(jail));
  }
  made.process_ = TRY(fork_init());
  if (!made.process_.running()) {
    const Error error = become_template(jail, kind, made.plan_, words.write.get(), control.read.get(), filter.get());
    (void)sys::write_all(words.write.get(), error.message);
    ::_exit(1);
  }
  made.control_ = std::move(control.write);
  made.words_ = std::move(words.read);
  TRY(sys::set_nonblocking(made.control_.get(), true));
  TRY(sys::set_nonblocking(made.words_.get(), true));
  return made;
}

// Its session is named by its pid, which nobody else can have before it is reaped. What dies with it becomes a child of
// this process (PR_SET_CHILD_SUBREAPER).
Template::~Template() {
  if (!process_.running()) return;
  constexpr timespec kPause{0, 1'000'000};
  const pid_t session = process_.pid();
  ::kill(-session, SIGKILL);
  process_ = Child();
  for (const Deadline limit = Deadline::in(kEndLimit); !limit.passed(); ::nanosleep(&kPause, nullptr))
    while (const pid_t reaped = ::waitpid(-session, nullptr, WNOHANG))
      if (reaped < 0) return;  // ECHILD: nobody is left
}

Result<bool> Template::ready() {
  std::array<char, 4096> buffer{};
  const auto proc = ProcDir::open();
  const auto process = proc ? proc->look_up(process_.pid()) : std::nullopt;
  if (process && process->state == 'T') return fail(Fault::kSandbox, "the template has been stopped");
  const auto count = TRY(sys::read_some(control_.get(), buffer));
  if (!count || (ready_ && *count > 0)) return ready_;
  if (*count == 0) {
    const auto said = sys::read_some(words_.get(), buffer);
    const std::size_t length = said && *said ? **said : 0;
    return fail(Fault::kSandbox, fmt::format("the template has ended: {}", std::string_view(buffer.data(), length)));
  }
  heard_.append(buffer.data(), *count);
  if (heard_ == kNeedless) {
    needless_ = true;
    return false;
  }
  // "ready", version, missing modules
  const std::size_t version = heard_.find('\0');
  const std::size_t missing = version == heard_.npos ? heard_.npos : heard_.find('\0', version + 1);
  if (missing == heard_.npos || heard_.back() != '\0' || missing + 1 == heard_.size()) return false;
  missing_ = heard_.substr(missing + 1, heard_.size() - missing - 2);
  return ready_ = true;
}

Result<void> Template::fork_runner(const Jail& jail, const RunnerEnds& ends) {
  std::vector<int> descriptors = {ends.walls, ends.stdin_fd, ends.stdout_fd, ends.stderr_fd,
                                  ends.go,    ends.report,   ends.status,    ends.handover};
  if (jail.cgroup) std::ranges::copy(jail.cgroup->entrances(), std::back_inserter(descriptors));
  return send_descriptors(control_.get(), jail.filter.notifies ? 'N' : 'F', descriptors);
}

}  // namespace coderunner
