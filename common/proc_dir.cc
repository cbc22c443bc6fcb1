// Role: reads /proc/PID/stat and its neighbours, follows parents. See proc_dir.h.
#include "common/proc_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "common/directory.h"
#include "common/sys.h"

namespace coderunner {
namespace {

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

bool parse_kill_sent(std::string_view status) {
  constexpr std::uint64_t kKill = std::uint64_t{1} << (SIGKILL - 1);
  for (const std::string_view name : {"\nSigPnd:\t", "\nShdPnd:\t"}) {
    const std::size_t at = status.find(name);
    if (at == status.npos) continue;
    std::uint64_t pending = 0;
    std::from_chars(status.data() + at + name.size(), status.data() + status.size(), pending, 16);
    if ((pending & kKill) != 0) return true;
  }
  return false;
}

std::optional<ProcessInfo> parse_stat(std::string_view text) {
  // pid (comm) state ppid …: comm is whatever the process calls itself, so it ends at the last ')'.
  const std::size_t name = text.find(" (");
  const std::size_t end = text.rfind(") ");
  if (name == text.npos || end == text.npos || end < name) return std::nullopt;
  ProcessInfo info;
  if (!parse_number(text.substr(0, name), info.pid)) return std::nullopt;
  text.remove_prefix(end + 2);
  constexpr int kNeeded = 24;  // what follows is there since Linux 3.5
  for (int field = 3; field <= 52; ++field) {  // numbered as in proc(5)
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view value = text.substr(0, text.find_first_of(" \n"));
    if (value.empty() && field > kNeeded) break;
    bool good = true;
    if (field == 3) good = value.size() == 1 && (info.state = value.front(), true);
    if (field == 4) good = parse_number(value, info.parent);
    if (field == 6) good = parse_number(value, info.session);
    if (field == 9) {
      constexpr std::uint64_t kExiting = 0x4;  // include/linux/sched.h
      std::uint64_t flags = 0;
      good = parse_number(value, flags);
      info.exiting = (flags & kExiting) != 0;
    }
    if (field >= 14 && field <= 17) {
      std::uint64_t ticks = 0;
      good = parse_number(value, ticks);
      info.cpu_ticks += ticks;
      if (field >= 16) info.child_ticks += ticks;
    }
    if (field == 20) good = parse_number(value, info.threads);
    if (field == 22) good = parse_number(value, info.start_time);
    if (field == 23) info.mapped = value != "0";
    if (field == 24) good = parse_number(value, info.resident_pages);
    if (field == 52) good = parse_number(value, info.wait_status);
    if (!good) return std::nullopt;
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  return info;
}

Result<ProcDir> ProcDir::open() { return ProcDir(TRY(sys::open("/proc", O_RDONLY | O_DIRECTORY))); }

Result<std::vector<ProcessInfo>> ProcDir::list() const {
  std::vector<ProcessInfo> all;
  DirectoryReader reader(fd_.get());
  TRY(reader.rewind());
  while (const auto entry = TRY(reader.next())) {
    pid_t pid = 0;
    if (!parse_number(entry->name, pid)) continue;
    if (const std::optional<ProcessInfo> info = look_up(pid)) all.push_back(*info);
  }
  return all;
}

std::optional<std::string_view> ProcDir::read(pid_t pid, std::string_view name, std::span<char> into) const {
  std::array<char, 64> path;
  *fmt::format_to_n(path.data(), path.size() - 1, "{}/{}", pid, name).out = '\0';
  const UniqueFd file(::openat(fd_.get(), path.data(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  std::size_t filled = 0;
  // A file of /proc may come in several pieces, each of whole records.
  for (ssize_t got = 1; got > 0 && filled < into.size(); filled += static_cast<std::size_t>(got)) {
    got = ::read(file.get(), into.data() + filled, into.size() - filled);
    if (got < 0) return std::nullopt;  // ESRCH: ended since; EACCES: not ours to see
  }
  if (filled == 0) return std::nullopt;
  return std::string_view(into.data(), filled);
}

std::optional<ProcessInfo> ProcDir::look_up(pid_t pid) const {
  std::array<char, 1024> buffer;
  const auto text = read(pid, "stat", buffer);
  return text ? parse_stat(*text) : std::nullopt;
}

// A kill waits among the signals of the whole process to its end (kernel/signal.c: get_signal() takes only the thread's
// own away), and so it shows while the process is on its way to do_exit(), where its flags tell nothing yet. One that
// came from cgroup.kill is the thread's alone, and has that gap.
bool ProcDir::lives(pid_t pid) const {
  std::array<char, 4096> buffer;
  const auto status = read(pid, "status", buffer);
  if (!status || parse_kill_sent(*status)) return false;
  const auto process = look_up(pid);
  return process && !process->exiting && !process->ended();
}

std::vector<pid_t> ProcDir::threads(pid_t pid) const {
  std::vector<pid_t> all;
  const auto directory = sys::open_at(fd_.get(), fmt::format("{}/task", pid), O_RDONLY | O_DIRECTORY);
  if (!directory) return all;
  DirectoryReader reader(directory->get());
  for (auto entry = reader.next(); entry && *entry; entry = reader.next()) {
    pid_t thread = 0;
    if (parse_number((*entry)->name, thread)) all.push_back(thread);
  }
  return all;
}

Result<std::vector<ProcessInfo>> descendants(const ProcDir& proc, pid_t root) {
  std::vector<ProcessInfo> all = TRY(proc.list());
  std::ranges::sort(all, {}, &ProcessInfo::parent);
  std::vector<ProcessInfo> found;
  const auto add_children = [&](pid_t parent) {
    const auto children = std::ranges::equal_range(all, parent, {}, &ProcessInfo::parent);
    found.insert(found.end(), children.begin(), children.end());
  };
  add_children(root);
  // A pid that was given away while the list was read can make a circle; no tree has more members than the list.
  for (std::size_t next = 0; next < found.size() && found.size() <= all.size(); ++next) add_children(found[next].pid);
  return found;
}

std::optional<std::vector<pid_t>> children_of(pid_t pid) {
  const auto text = sys::read_file(fmt::format("/proc/{0}/task/{0}/children", pid));
  if (!text) return std::nullopt;
  std::vector<pid_t> children;
  std::istringstream numbers(*text);
  for (pid_t child = 0; numbers >> child;) children.push_back(child);
  return children;
}

}  // namespace coderunner
