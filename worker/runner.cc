// Role: see runner.h.
#include "worker/runner.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <limits>

#include <fmt/format.h>

#include "common/sys.h"
#include "worker/descriptors.h"
#include "worker/landlock.h"
#include "worker/privileges.h"

namespace coderunner {
namespace {

// Where copies wait so that no dup2() overwrites a source; between the low places and the report's.
constexpr int kWaitingFrom = 16;

Result<UniqueFd> out_of_the_way(int fd) {
  return UniqueFd(static_cast<int>(TRY(sys::retry("fcntl(F_DUPFD)", [&] {
    return ::fcntl(fd, F_DUPFD_CLOEXEC, kWaitingFrom);
  }))));
}

// Puts the descriptors at their places. All others close at exec, not before: until then the status pipe among them
// can still tell what went wrong (CLOSE_RANGE_CLOEXEC: Linux 5.11).
Result<void> place_descriptors(const RunnerKit& kit) {
  struct Row {
    int from, to;
  };
  std::array<Row, 5> rows = {{{kit.stdin_fd, STDIN_FILENO},
                              {kit.stdout_fd, STDOUT_FILENO},
                              {kit.stderr_fd, STDERR_FILENO},
                              {kit.go_fd, kGoFd},
                              {kit.report_fd, kit.report_number}}};
  for (Row& row : rows)
    row.from = TRY(out_of_the_way(row.from)).release();  // closed by exec
  for (const Row& row : rows)
    TRY(sys::retry("dup2", [&] { return ::dup2(row.from, row.to); }));
  const auto report = static_cast<unsigned>(kit.report_number);
  TRY(sys::retry("close_range", [&] { return ::close_range(kGoFd + 1, report - 1, CLOSE_RANGE_CLOEXEC); }));
  TRY(sys::retry("close_range", [&] {
    return ::close_range(report + 1, std::numeric_limits<unsigned>::max(), CLOSE_RANGE_CLOEXEC);
  }));
  return {};
}

Result<void> lock_files(const JailPlan& plan, unsigned abi) {
  const UniqueFd ruleset = TRY(make_landlock_ruleset({plan.read_only_paths, plan.read_write_paths, plan.network}, abi));
  TRY(allow_own_proc(ruleset.get()));
  return enforce_landlock(ruleset.get());
}

Result<void> lock_in(const RunnerKit& kit) {
  const JailPlan& plan = *kit.plan;
  TRY(sys::retry("setsid", [] { return ::setsid(); }));
  const UniqueFd handover = TRY(out_of_the_way(kit.handover_fd));
  TRY(place_descriptors(kit));
  TRY(sys::retry("chdir(working directory)", [&] { return ::chdir(plan.working_directory.c_str()); }));
  set_usual_umask();
  ::signal(SIGPIPE, SIG_DFL);  // ignored in a worker, and exec keeps that
  TRY(set_dumpable(Dumpable::kYes));  // or the next file would belong to root; exec makes it so anyway
  TRY(set_oom_score_adjustment(kFirstVictim));
  TRY(drop_privileges());
  if (plan.level == SandboxLevel::kReduced && kit.landlock_abi > 0) TRY(lock_files(plan, kit.landlock_abi));
  TRY(apply_rlimits(*kit.rlimits));
  const UniqueFd listener = TRY(install_filter(*kit.filter));
  if (listener.valid()) TRY(send_descriptors(handover.get(), 'L', std::array{listener.get()}));
  return {};
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const std::string& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Program::Program(const std::vector<std::string>& argv, const std::vector<std::string>& environment)
    : argv_(pointers(argv)), environment_(pointers(environment)) {}

void Program::exec() const { ::execve(argv_.front(), argv_.data(), environment_.data()); }

Error become_runner(const RunnerKit& kit) {
  const Program interpreter(kit.plan->argv, kit.plan->environment);
  if (auto locked = lock_in(kit); !locked) return locked.error();
  interpreter.exec();
  return sys::last_error(fmt::format("execve(\"{}\")", kit.plan->argv.front()));
}

std::string encode_runner_message(const JobSpec& job) {
  std::string out;
  const auto add = [&out](std::string_view field) {
    out += field;
    out += '\0';
  };
  add(job.entry_point);
  add(fmt::format("{}", job.args.size()));
  for (const std::string& argument : job.args) add(argument);
  add(fmt::format("{}", job.env.size()));
  for (const auto& [name, value] : job.env) add(name + "=" + value);
  return out;
}

}  // namespace coderunner
