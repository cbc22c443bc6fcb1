// Role: the keeper's life: wait for the end of the service, clean up, exit.
// Callers: see keeper.h.
#include "supervisor/keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <thread>

#include "common/file_tree.h"
#include "common/sys.h"

namespace coderunner {

namespace {

constexpr std::string_view kTitle = "coderunner: keeper";
constexpr Millis kDutyLimit{5000};  // killed processes are gone long before
constexpr Millis kRetryPause{20};
constexpr Millis kFarewellLimit{6000};

void show_title(std::span<char> area) {
  ::prctl(PR_SET_NAME, "coderunner-keep", 0, 0, 0);  // at most 15 bytes
  if (area.empty()) return;
  std::ranges::fill(area, '\0');
  std::ranges::copy(kTitle.substr(0, std::min(kTitle.size(), area.size() - 1)), area.begin());
}

// Workers end by themselves when the service is gone, but not at once: what they still hold refuses to go meanwhile.
void do_duty(const KeeperDuties& duties) {
  const CgroupWorld world = real_cgroups();
  const Deadline deadline = Deadline::in(kDutyLimit);
  for (;;) {
    const bool no_groups = remove_cgroup_tree(world, duties.cgroups);
    const bool no_files = duties.temp_dir.empty() || remove_tree(duties.temp_dir).has_value();
    if ((no_groups && no_files) || deadline.passed()) return;
    std::this_thread::sleep_for(kRetryPause);
  }
}

[[noreturn]] void keep(const KeeperDuties& duties, int lifeline, std::span<char> title_area) {
  ::setsid();  // a terminal's Ctrl-C and hang-up are not for it
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  // Nothing of the service's stays open: not its standard output either, whose reader waits for its end.
  constexpr int kLifeline = 3;
  const auto null = sys::open("/dev/null", O_RDWR);
  if (null) {
    for (const int fd : {0, 1, 2}) ::dup2(null->get(), fd);
  }
  if (lifeline != kLifeline) ::dup2(lifeline, kLifeline);
  ::syscall(SYS_close_range, kLifeline + 1, ~0U, 0);
  if (::chdir("/") == -1) ::_exit(1);
  show_title(title_area);

  std::array<char, 16> nothing;
  for (;;) {
    const auto count = sys::read_some(kLifeline, nothing);
    if (!count || (*count && **count == 0)) break;
  }
  do_duty(duties);
  ::_exit(0);
}

}  // namespace

Result<Keeper> Keeper::start(KeeperDuties duties, std::span<char> title_area) {
  Pipe pipe = TRY(sys::make_pipe());
  const long pid = TRY(sys::retry("fork", [] { return ::fork(); }));
  if (pid == 0) keep(duties, pipe.read.get(), title_area);
  return Keeper(TRY(Child::adopt(static_cast<pid_t>(pid))), std::move(pipe.write));
}

void Keeper::finish() {
  lifeline_.reset();
  if (child_.running()) static_cast<void>(child_.wait(Deadline::in(kFarewellLimit)));
}

}  // namespace coderunner
