// Role: see leak_sentinel.h.
#include "worker/leak_sentinel.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/directory.h"
#include "common/sys.h"

namespace coderunner {
namespace {

constexpr std::size_t kMountinfoLimit = 16 << 20;

Result<std::size_t> count_descriptors() {
  const UniqueFd directory = TRY(sys::open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
  DirectoryReader reader(directory.get());
  std::size_t count = 0;
  while (TRY(reader.next())) ++count;
  return count;
}

Result<std::size_t> count_mounts(const std::string& mountinfo) {
  if (mountinfo.empty()) return 0U;
  const std::string text = TRY(sys::read_file(mountinfo, kMountinfoLimit));
  return static_cast<std::size_t>(std::ranges::count(text, '\n'));
}

std::string name_of(const ProcDir& proc, pid_t pid) {
  std::array<char, 64> buffer;
  const std::string_view name = proc.read(pid, "comm", buffer).value_or("?");
  return std::string(name.substr(0, name.find('\n')));
}

}  // namespace

Result<void> LeakSentinel::remember(const TemplateSessions& templates) {
  templates_ = templates.living;
  descriptors_ = TRY(count_descriptors());
  mounts_ = TRY(count_mounts(places_.mountinfo));
  return {};
}

Result<std::vector<std::string>> LeakSentinel::stray_processes(const TemplateSessions& templates) const {
  const ProcDir proc = TRY(ProcDir::open());
  std::vector<ProcessInfo> found;
  // That file costs no walk over all of /proc; what it could miss should be gone here.
  const auto own = children_of(::getpid());
  if (own) {
    std::vector<pid_t> pids = *own;
    for (const pid_t living : templates.living)
      std::ranges::copy(children_of(living).value_or(std::vector<pid_t>{}), std::back_inserter(pids));
    for (const pid_t pid : pids)
      if (const auto process = proc.look_up(pid)) found.push_back(*process);
  } else {
    found = TRY(descendants(proc, ::getpid()));
  }
  std::vector<std::string> strays;
  for (const ProcessInfo& process : found) {
    // An ended one's pid may be somebody else's by now, its session not while anybody is in it.
    const bool known = belongs_to(process, templates.living) ||
                       std::ranges::find(templates.others, process.session) != templates.others.end();
    if (!known && !process.ended() && !process.exiting)
      strays.push_back(name_of(proc, process.pid));
  }
  return strays;
}

Result<std::string> LeakSentinel::look(const TemplateSessions& templates, const std::string& folder) {
  std::vector<std::string> left;
  const auto strays = TRY(stray_processes(templates));
  if (!strays.empty())
    left.push_back(fmt::format("{} process{} ({})", strays.size(), strays.size() > 1 ? "es" : "",
                               fmt::join(strays, ", ")));
  else if (places_.cgroup != nullptr && TRY(places_.cgroup->populated()))
    left.emplace_back("a process in the cgroup");

  const std::size_t descriptors = TRY(count_descriptors());
  // Another template has other pipes: how many belong to whom shows again after the next job.
  if (templates.living == templates_ && descriptors > descriptors_) {
    const std::size_t more = descriptors - descriptors_;
    left.push_back(fmt::format("{} descriptor{}", more, more > 1 ? "s" : ""));
  }
  templates_ = templates.living;
  descriptors_ = descriptors;

  const std::size_t mounts = TRY(count_mounts(places_.mountinfo));
  if (mounts > mounts_) left.push_back(fmt::format("{} mount{}", mounts - mounts_, mounts - mounts_ > 1 ? "s" : ""));
  struct stat ignored {};
  if (!folder.empty() && ::lstat(folder.c_str(), &ignored) == 0) left.emplace_back("its folder");
  return fmt::format("{}", fmt::join(left, ", "));
}

}  // namespace coderunner
