// Role: reads /proc for children, kills them in rounds.
// Callers: see orphans.h.
#include "supervisor/orphans.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "common/directory.h"
#include "common/sys.h"

namespace coderunner {

namespace {

std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.size() || pid <= 0) return std::nullopt;
  return pid;
}

void append_pids(std::string_view text, std::vector<pid_t>& pids) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (const auto pid = parse_pid(text.substr(0, end))) pids.push_back(*pid);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// The parent of a process from /proc/PID/stat: `pid (name) state ppid …`; the name may hold anything, ")" included.
std::optional<pid_t> parent_of(std::string_view stat) {
  const std::size_t close = stat.rfind(") ");
  if (close == std::string_view::npos || close + 4 > stat.size()) return std::nullopt;
  stat.remove_prefix(close + 4);  // ") S "
  return parse_pid(stat.substr(0, stat.find(' ')));
}

// nullopt: not there. What is there and can not be read, because no descriptor is free, say, is not taken for nothing.
Result<std::optional<std::string>> read_if_there(const std::string& path) {
  auto text = sys::read_file(path);
  if (text) return std::move(*text);
  if (TRY(stat_entry(AT_FDCWD, path))) return std::unexpected(text.error());
  return std::nullopt;
}

// For kernels without CONFIG_PROC_CHILDREN.
Result<std::vector<pid_t>> scan_proc() {
  std::vector<pid_t> children;
  const UniqueFd proc = TRY(sys::open("/proc", O_RDONLY | O_DIRECTORY));
  DirectoryReader entries(proc.get());
  while (const auto entry = TRY(entries.next())) {
    const auto pid = parse_pid(entry->name);
    if (!pid) continue;
    const auto stat = TRY(read_if_there(fmt::format("/proc/{}/stat", *pid)));
    if (stat && parent_of(*stat) == ::getpid()) children.push_back(*pid);
  }
  return children;
}

}  // namespace

Result<std::vector<pid_t>> list_children() {
  std::vector<pid_t> children;
  const UniqueFd tasks = TRY(sys::open("/proc/self/task", O_RDONLY | O_DIRECTORY));
  DirectoryReader entries(tasks.get());
  while (const auto entry = TRY(entries.next())) {
    const auto text = TRY(read_if_there(fmt::format("/proc/self/task/{}/children", entry->name)));
    // A thread that ends meanwhile hands its children to another one; the file is missing for all of them where the
    // kernel was built without it.
    if (text) append_pids(*text, children);
    else if (!TRY(stat_entry(AT_FDCWD, "/proc/thread-self/children"))) return scan_proc();
  }
  return children;
}

Result<std::size_t> end_orphans(std::span<const pid_t> spared, Deadline deadline) {
  std::size_t ended = 0;
  for (;;) {
    std::vector<pid_t> orphans = TRY(list_children());
    std::erase_if(orphans, [&](pid_t pid) { return std::ranges::find(spared, pid) != spared.end(); });
    if (orphans.empty()) return ended;
    if (deadline.passed()) return fail(Fault::kInternal, "processes of a dead worker do not end");

    // All are hit before one is waited for: those that fork have less time for it. And whoever ends first is reaped
    // first: the first process of a pid namespace ends only after every other one has been reaped (pid_namespaces(7)).
    std::vector<UniqueFd> owners;
    std::vector<pollfd> entries;
    for (const pid_t pid : orphans) {
      ::kill(pid, SIGKILL);  // a child that nobody has reaped: the pid is its own
      owners.emplace_back(static_cast<int>(TRY(sys::retry("pidfd_open(orphan)", [&] {
        return ::syscall(SYS_pidfd_open, pid, 0);
      }))));
      entries.push_back({.fd = owners.back().get(), .events = POLLIN, .revents = 0});
    }
    TRY(sys::poll(entries, deadline));
    for (std::size_t i = 0; i < orphans.size(); ++i) {
      if (entries[i].revents != 0 && ::waitpid(orphans[i], nullptr, WNOHANG | __WALL) == orphans[i]) ++ended;
    }
  }
}

}  // namespace coderunner
