// Role: makes, hands over and removes the directories.
// Callers: see cgroup_tree.h.
#include "supervisor/cgroup_tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "common/sys.h"
#include "supervisor/cgroup_mounts.h"

namespace coderunner {

namespace {

namespace fs = std::filesystem;

constexpr std::array kControllers = {"memory", "pids"};
constexpr std::string_view kPrefix = "coderunner-";
constexpr std::string_view kCure = "needs a writable cgroup: root, or Delegate=yes in the systemd unit";

std::vector<std::string> list_directories(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) names.push_back(entry->path());
  }
  return names;
}

// The directory and each file in it that its owner may write: what a worker needs for limiting and entering it.
Result<void> hand_over(const std::string& directory, const Account& account) {
  std::vector<std::string> paths = {directory};
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    struct stat info {};
    if (::lstat(entry->path().c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & S_IWUSR) != 0) {
      paths.push_back(entry->path());
    }
  }
  for (const std::string& path : paths) {
    const std::string what = fmt::format("chown(\"{}\")", path);
    TRY(sys::retry(what, [&] { return ::chown(path.c_str(), account.uid, account.gid); }));
  }
  return {};
}

class Builder {
 public:
  Builder(const CgroupWorld& world, std::size_t workers, const Account& account)
      : world_(world), workers_(workers), account_(account) {}

  CgroupTree build() {
    const auto mountinfo = sys::read_file(world_.mountinfo);
    const auto membership = sys::read_file(world_.membership);
    if (!mountinfo || !membership) {
      note("no /proc/self/mountinfo or /proc/self/cgroup");
      return std::move(tree_);
    }
    tree_.worker_dirs.resize(workers_);
    std::vector<std::string> elsewhere;  // controllers without a v1 hierarchy
    std::vector<std::string> done;       // two controllers may share one
    for (const std::string controller : kControllers) {
      const auto own = own_group(*mountinfo, *membership, controller);
      if (!own) {
        elsewhere.push_back(controller);
      } else if (std::ranges::find(done, *own) == done.end()) {
        done.push_back(*own);
        attempt(controller, [&] { return build_v1(*own); });
      }
    }
    if (!elsewhere.empty()) {
      const auto own = own_group(*mountinfo, *membership, "");
      if (own) attempt(fmt::format("{}", fmt::join(elsewhere, ", ")), [&] { return build_v2(*own, elsewhere); });
      else note(fmt::format("{}: no hierarchy is mounted", fmt::join(elsewhere, ", ")));
    }
    if (tree_.made.empty()) tree_.worker_dirs.clear();
    return std::move(tree_);
  }

 private:
  void note(std::string_view text) { tree_.notes.push_back(fmt::format("cgroup: {}", text)); }

  // A hierarchy counts when all of it could be made; otherwise what was made of it goes again.
  template <class Build>
  void attempt(const std::string& what, Build&& build) {
    const CgroupTree before = tree_;
    const Result<void> built = build();
    if (built) return;
    CgroupTree undo = std::move(tree_);
    undo.made.erase(undo.made.begin(), undo.made.begin() + static_cast<std::ptrdiff_t>(before.made.size()));
    remove_cgroup_tree(world_, undo);
    tree_ = before;
    note(fmt::format("{}: {} ({})", what, built.error().message, kCure));
  }

  Result<void> make_directory(const std::string& path) {
    TRY(world_.make_directory(path));
    tree_.made.push_back(path);
    return {};
  }

  Result<void> make_workers(const std::string& base) {
    for (std::size_t index = 0; index < workers_; ++index) {
      const std::string directory = fmt::format("{}/w{}", base, index);
      TRY(make_directory(directory));
      TRY(hand_over(directory, account_));
      tree_.worker_dirs[index].push_back(directory);
    }
    return {};
  }

  Result<void> build_v1(const std::string& own) {
    remove_stale(own);
    const std::string base = fmt::format("{}/{}{}", own, kPrefix, world_.pid);
    TRY(make_directory(base));
    return make_workers(base);
  }

  Result<void> build_v2(const std::string& own, const std::vector<std::string>& wanted) {
    const std::string offered = TRY(sys::read_file(own + "/cgroup.controllers"));
    std::vector<std::string> controllers;
    for (const std::string& name : wanted) {
      if (fmt::format(" {} ", offered.substr(0, offered.find('\n'))).find(" " + name + " ") != std::string::npos) {
        controllers.push_back(name);
      } else {
        note(fmt::format("{}: not in {}/cgroup.controllers ({})", name, own, kCure));
      }
    }
    if (controllers.empty()) return {};
    remove_stale(own);
    const std::string base = fmt::format("{}/{}{}", own, kPrefix, world_.pid);
    TRY(make_directory(base));
    TRY(make_directory(base + "/supervisor"));
    tree_.v2_base = base;
    TRY(sys::write_file(base + "/supervisor/cgroup.procs", "0"));  // "0" is the writer itself
    const std::string enable = fmt::format("+{}", fmt::join(controllers, " +"));
    // EBUSY: other processes live in the group that this one began in.
    TRY(sys::write_file(own + "/cgroup.subtree_control", enable));
    tree_.v2_handed_down = fmt::format("{}", fmt::join(controllers, " "));
    TRY(sys::write_file(base + "/cgroup.subtree_control", enable));
    const std::string common = base + "/cgroup.procs";
    TRY(sys::retry("chown", [&] { return ::chown(common.c_str(), account_.uid, account_.gid); }));
    return make_workers(base);
  }

  // Groups of a service that was killed together with its keeper. They are removed only, never emptied: a pid that is
  // unknown here may live in another pid namespace that shares this hierarchy, and then its groups refuse to go.
  void remove_stale(const std::string& own) {
    for (const std::string& base : list_directories(own)) {
      const std::string name = fs::path(base).filename();
      if (!name.starts_with(kPrefix)) continue;
      pid_t pid = 0;
      const char* end = name.data() + name.size();
      const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, pid);
      if (parsed.ec != std::errc() || parsed.ptr != end || world_.lives(pid)) continue;
      for (const std::string& group : list_directories(base)) static_cast<void>(world_.remove_directory(group));
      static_cast<void>(world_.remove_directory(base));
    }
  }

  const CgroupWorld& world_;
  std::size_t workers_;
  const Account& account_;
  CgroupTree tree_;
};

void kill_members(const std::string& group) {
  if (sys::write_file(group + "/cgroup.kill", "1")) return;  // Linux 5.14, v2 only
  const auto members = sys::read_file(group + "/cgroup.procs");
  if (!members) return;
  const char* at = members->data();
  const char* const end = at + members->size();
  pid_t pid = 0;
  for (auto parsed = std::from_chars(at, end, pid); parsed.ec == std::errc() && pid > 0;
       parsed = std::from_chars(at, end, pid)) {
    ::kill(pid, SIGKILL);
    at = std::min(parsed.ptr + 1, end);
  }
}

// A worker's group and what it made below.
bool remove_worker_group(const CgroupWorld& world, const std::string& group) {
  bool gone = true;
  for (const std::string& below : list_directories(group)) gone = remove_worker_group(world, below) && gone;
  kill_members(group);
  return world.remove_directory(group).has_value() && gone;
}

// Controllers are taken back from the bottom up, then the members of the supervisor's group fit into `own` again.
void take_back_v2(const CgroupTree& tree) {
  const std::string& base = tree.v2_base;
  const std::string own = fs::path(base).parent_path();
  std::string disable;
  for (const char* name : kControllers) {
    if (tree.v2_handed_down.find(name) != std::string::npos) disable += fmt::format("-{} ", name);
  }
  if (!disable.empty()) {
    static_cast<void>(sys::write_file(base + "/cgroup.subtree_control", disable));
    static_cast<void>(sys::write_file(own + "/cgroup.subtree_control", disable));
  }
  const auto members = sys::read_file(base + "/supervisor/cgroup.procs");
  std::string_view rest = members ? std::string_view(*members) : std::string_view();
  while (!rest.empty()) {  // one pid a write (cgroups(7))
    const std::string_view pid = rest.substr(0, rest.find('\n'));
    static_cast<void>(sys::write_file(own + "/cgroup.procs", pid));
    rest.remove_prefix(std::min(pid.size() + 1, rest.size()));
  }
}

}  // namespace

CgroupWorld real_cgroups() {
  CgroupWorld world;
  world.pid = ::getpid();
  world.lives = [](pid_t pid) { return ::kill(pid, 0) == 0 || sys::last_errno() != ESRCH; };
  world.make_directory = [](const std::string& path) -> Result<void> {
    TRY(sys::retry(fmt::format("mkdir(\"{}\")", path), [&] { return ::mkdir(path.c_str(), 0755); }));
    return {};
  };
  world.remove_directory = [](const std::string& path) -> Result<void> {
    TRY(sys::retry(fmt::format("rmdir(\"{}\")", path), [&] { return ::rmdir(path.c_str()); }));
    return {};
  };
  return world;
}

CgroupTree make_cgroup_tree(const CgroupWorld& world, std::size_t workers, const Account& account) {
  return Builder(world, workers, account).build();
}

bool remove_cgroup_tree(const CgroupWorld& world, const CgroupTree& tree) {
  bool gone = true;
  std::error_code ignored;
  for (auto group = tree.made.rbegin(); group != tree.made.rend(); ++group) {
    if (!fs::exists(*group, ignored)) continue;  // by an earlier attempt
    const bool is_worker = fs::path(*group).filename().native().starts_with("w");
    // Only workers' groups are emptied by force: the service and this process may be in the others.
    if (is_worker) gone = remove_worker_group(world, *group) && gone;
    else if (*group == tree.v2_base + "/supervisor") take_back_v2(tree);
    if (!is_worker) gone = world.remove_directory(*group).has_value() && gone;
  }
  return gone;
}

}  // namespace coderunner
