// Role: remove_tree and disk_use. See file_tree.h.
#include "common/file_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <unordered_set>
#include <utility>
#include <vector>

#include "common/sys.h"
#include "common/directory.h"

namespace coderunner {
namespace {

Error entry_error(std::string_view call, std::string_view name) {
  const Error error = sys::last_error("");
  return Error{error.fault, fmt::format("remove_tree: {}({}){}", call, quoted_name(name), error.message)};
}

// True when the entry is gone, false when it is a directory with something in it (or a mount point: EBUSY).
Result<bool> unlink_simple(int directory, const std::string& name) {
  if (::unlinkat(directory, name.c_str(), 0) == 0 || sys::last_errno() == ENOENT) return true;
  if (sys::last_errno() != EISDIR) return std::unexpected(entry_error("unlinkat", name));
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0 || sys::last_errno() == ENOENT) return true;
  const int why = sys::last_errno();
  if (why == ENOTEMPTY || why == EEXIST || why == EBUSY) return false;
  return std::unexpected(entry_error("rmdir", name));
}

// Empties one directory, the top. A directory that is not empty is not descended into further than one level: its own
// sub-directories are first moved up into the top. So any depth takes two descriptors and no stack.
class TreeRemover {
 public:
  TreeRemover(int top, dev_t device, Deadline deadline) : top_(top), device_(device), deadline_(deadline) {}

  Result<void> run() {
    return empty(top_, [this](const std::string& name) { return remove_directory(name); });
  }

 private:
  // Removes what can be removed at once and hands on the directories that are not empty. Repeats until a whole reading
  // finds nothing: whether a reading sees entries made or removed during it is unspecified (readdir(3)).
  template <class OnDirectory>
  Result<void> empty(int directory, OnDirectory on_directory) {
    for (bool found = true; found;) {
      found = false;
      DirectoryReader reader(directory);
      TRY(reader.rewind());
      while (const auto entry = TRY(reader.next())) {
        found = true;
        if (deadline_.passed()) return fail(Fault::kInternal, "remove_tree: the tree is not gone in time");
        const std::string name(entry->name);
        if (!TRY(unlink_simple(directory, name))) TRY(on_directory(name));
      }
    }
    return {};
  }

  // A directory in the top.
  Result<void> remove_directory(const std::string& name) {
    std::optional<UniqueFd> opened = TRY(reclaim_directory(top_, name));
    if (!opened) return {};
    const UniqueFd directory = *std::move(opened);
    if (TRY(stat_open(directory.get())).st_dev != device_)
      return fail(Fault::kInternal, fmt::format("remove_tree: {} is another file system", quoted_name(name)));
    TRY(empty(directory.get(), [&](const std::string& below) { return move_up(directory.get(), below); }));
    if (::unlinkat(top_, name.c_str(), AT_REMOVEDIR) == 0) return {};
    const int why = sys::last_errno();
    // ENOTEMPTY: someone is still writing; the top's next reading meets it again, until the deadline.
    if (why == ENOENT || why == ENOTEMPTY || why == EEXIST) return {};
    return std::unexpected(entry_error("rmdir", name));
  }

  Result<void> move_up(int directory, const std::string& name) {
    for (;;) {
      if (deadline_.passed()) return fail(Fault::kInternal, "remove_tree: the tree is not gone in time");
      const std::string target = fmt::format("removed-{}", moved_++);
      if (::renameat(directory, name.c_str(), top_, target.c_str()) == 0) return {};
      const int why = sys::last_errno();
      if (why == ENOENT) return {};
      // The name is taken by a file or by a directory that is not empty; an empty one would have been replaced.
      if (why == ENOTDIR || why == ENOTEMPTY || why == EEXIST) continue;
      // Moving a directory changes its "..", so it must be writable itself (rename(2), EACCES).
      if (why != EACCES) return std::unexpected(entry_error("renameat", name));
      const std::optional<struct stat> before = TRY(stat_entry(directory, name));
      if (!before) return {};
      if ((before->st_mode & S_IRWXU) == S_IRWXU || ::fchmodat(directory, name.c_str(), S_IRWXU, 0) != 0)
        return std::unexpected(entry_error("renameat", name));
    }
  }

  int top_;
  dev_t device_;
  Deadline deadline_;
  std::uint64_t moved_ = 0;
};

// One directory on the way from the root of the walk down to where it stands.
struct Level {
  ino_t inode = 0;
  std::vector<std::string> pending;  // sub-directories still to be visited
};

// Depth first with one open directory: down by name, up by "..", and up only to the directory it came from.
class DiskWalk {
 public:
  DiskWalk(dev_t device, Bytes stop_bytes, std::uint64_t stop_inodes)
      : device_(device), stop_bytes_(stop_bytes), stop_inodes_(stop_inodes) {}

  Result<DiskUse> run(UniqueFd at, ino_t root) {
    std::vector<std::string> pending = TRY(measure(at.get()));
    path_.push_back(Level{root, std::move(pending)});
    while (!over()) {
      if (!path_.back().pending.empty()) {
        TRY(visit_next(at));
        continue;
      }
      path_.pop_back();
      if (path_.empty()) return use_;
      Result<UniqueFd> up = sys::open_at(at.get(), "..", O_RDONLY | O_DIRECTORY);
      if (!up) break;  // lost its permissions meanwhile
      at = *std::move(up);
      if (TRY(stat_open(at.get())).st_ino != path_.back().inode) break;  // was moved meanwhile: ".." leads elsewhere
    }
    use_.complete = false;
    return use_;
  }

 private:
  [[nodiscard]] bool over() const { return use_.bytes > stop_bytes_ || use_.inodes > stop_inodes_; }

  // Measures the next sub-directory of `at`; goes into it only when there is something below it to go on with.
  Result<void> visit_next(UniqueFd& at) {
    const std::string name = std::move(path_.back().pending.back());
    path_.back().pending.pop_back();
    // What a script has made unreadable, it can fill all the same.
    Result<std::optional<UniqueFd>> opened = reclaim_in_use(at.get(), name);
    if (!opened) {
      use_.complete = false;
      return {};
    }
    if (!*opened) return {};  // gone, or replaced
    UniqueFd below = **std::move(opened);
    const struct stat found = TRY(stat_open(below.get()));
    if (found.st_dev != device_) return {};
    std::vector<std::string> pending = TRY(measure(below.get()));
    if (pending.empty()) return {};
    path_.push_back(Level{found.st_ino, std::move(pending)});
    at = std::move(below);
    return {};
  }

  // Adds the entries of one directory; its sub-directories are the answer.
  Result<std::vector<std::string>> measure(int directory) {
    std::vector<std::string> below;
    DirectoryReader reader(directory);
    while (const auto entry = TRY(reader.next())) {
      const std::string name(entry->name);
      const auto found = stat_entry(directory, name);
      if (!found) use_.complete = false;  // readable, but not searchable
      if (!found || !*found || (*found)->st_dev != device_) continue;
      const struct stat& info = **found;
      if (S_ISDIR(info.st_mode)) {
        below.push_back(name);
      } else if (info.st_nlink > 1 && !linked_.insert(info.st_ino).second) {
        continue;
      }
      ++use_.inodes;
      use_.bytes += static_cast<Bytes>(info.st_blocks) * 512;  // always 512, whatever st_blksize (stat(3type))
      if (over()) break;
    }
    return below;
  }

  dev_t device_;
  Bytes stop_bytes_;
  std::uint64_t stop_inodes_;
  DiskUse use_;
  std::vector<Level> path_;
  std::unordered_set<ino_t> linked_;  // hard-linked files already counted; at most stop_inodes_
};

}  // namespace

Result<void> remove_tree(int parent, const std::string& name, Deadline deadline) {
  if (TRY(unlink_simple(parent, name))) return {};
  std::optional<UniqueFd> top = TRY(reclaim_directory(parent, name));
  if (!top) return {};
  const dev_t device = TRY(stat_open(top->get())).st_dev;
  if (device != TRY(stat_open(parent)).st_dev)
    return fail(Fault::kInternal, fmt::format("remove_tree: {} is another file system", quoted_name(name)));
  TRY(TreeRemover(top->get(), device, deadline).run());
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || sys::last_errno() == ENOENT) return {};
  return std::unexpected(entry_error("rmdir", name));
}

Result<void> remove_tree(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos || slash == 0)
    return fail(Fault::kInternal, fmt::format("remove_tree: {}: not below a folder", path));
  const auto parent = sys::open(path.substr(0, slash), O_RDONLY | O_DIRECTORY);
  if (!parent && sys::last_errno() == ENOENT) return {};
  if (!parent) return std::unexpected(parent.error());
  return remove_tree(parent->get(), path.substr(slash + 1));
}

Result<DiskUse> disk_use(int directory, Bytes stop_above_bytes, std::uint64_t stop_above_inodes) {
  // A descriptor of its own: reading moves an offset that a duplicate would share.
  TRY(reclaim_open(directory));
  UniqueFd at = TRY(sys::open_at(directory, ".", O_RDONLY | O_DIRECTORY));
  const struct stat root = TRY(stat_open(at.get()));
  return DiskWalk(root.st_dev, stop_above_bytes, stop_above_inodes).run(std::move(at), root.st_ino);
}

}  // namespace coderunner
