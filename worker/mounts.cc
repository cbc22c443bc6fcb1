// Role: see mounts.h.
#include "worker/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/sys.h"

namespace coderunner {
namespace {

constexpr unsigned kTmpfsAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

struct TmpfsOption {
  const char* key;
  std::string value;
};

Result<UniqueFd> make_tmpfs(std::initializer_list<TmpfsOption> options) {
  const UniqueFd context(static_cast<int>(TRY(sys::retry("fsopen(tmpfs)", [] {
    return ::fsopen("tmpfs", FSOPEN_CLOEXEC);
  }))));
  for (const TmpfsOption& option : options)
    TRY(sys::retry(fmt::format("fsconfig(tmpfs, {}={})", option.key, option.value), [&] {
      return ::fsconfig(context.get(), FSCONFIG_SET_STRING, option.key, option.value.c_str(), 0);
    }));
  TRY(sys::retry("fsconfig(tmpfs, create)", [&] {
    return ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  }));
  return UniqueFd(static_cast<int>(TRY(sys::retry("fsmount(tmpfs)", [&] {
    return ::fsmount(context.get(), FSMOUNT_CLOEXEC, kTmpfsAttributes);
  }))));
}

Result<void> attach(int mount, const std::string& target) {
  TRY(sys::retry(fmt::format("move_mount(\"{}\")", target), [&] {
    return ::move_mount(mount, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH);
  }));
  return {};
}

Result<void> set_attributes(int mount, std::uint64_t set, unsigned flags) {
  mount_attr attributes{};
  attributes.attr_set = set;
  TRY(sys::retry("mount_setattr", [&] {
    return ::mount_setattr(mount, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes);
  }));
  return {};
}

// mkdir -p; what exists is kept.
Result<void> make_folders(const std::string& path) {
  for (std::size_t end = path.find('/', 1); ; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0755) == -1 && sys::last_errno() != EEXIST)
      return std::unexpected(sys::last_error(fmt::format("mkdir(\"{}\")", part)));
    if (end == std::string::npos) return {};
  }
}

// One row of the tree, built below `base`.
class RootBuilder {
 public:
  explicit RootBuilder(std::string base) : base_(std::move(base)) {}

  Result<void> apply(const MountRow& row) const {
    const std::string target = base_ + row.target;
    if (row.kind == MountKind::kDirectory) return make_folders(target);
    TRY(make_folders(target.substr(0, target.rfind('/'))));
    switch (row.kind) {
      case MountKind::kSymlink:
        TRY(sys::retry(fmt::format("symlink(\"{}\")", row.target), [&] {
          return ::symlink(row.source.c_str(), target.c_str());
        }));
        return {};
      case MountKind::kFile: {
        const UniqueFd file = TRY(sys::open(target, O_WRONLY | O_CREAT | O_EXCL, 0444));
        return sys::write_all(file.get(), row.source);
      }
      case MountKind::kReadOnlyBind:
        return bind(row.source, target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
      case MountKind::kDeviceBind: return bind(row.source, target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
      case MountKind::kHostProc: return bind(row.source, target, 0);
      case MountKind::kDirectory: break;
    }
    return {};
  }

 private:
  static Result<void> bind(const std::string& source, const std::string& target, std::uint64_t attributes) {
    struct stat info{};
    TRY(sys::retry(fmt::format("stat(\"{}\")", source), [&] { return ::stat(source.c_str(), &info); }));
    if (S_ISDIR(info.st_mode)) {
      TRY(make_folders(target));
    } else {
      TRY(sys::open(target, O_WRONLY | O_CREAT, 0444));
    }
    const UniqueFd tree(static_cast<int>(TRY(sys::retry(fmt::format("open_tree(\"{}\")", source), [&] {
      return ::open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    }))));
    if (attributes != 0) TRY(set_attributes(tree.get(), attributes, AT_RECURSIVE));
    return attach(tree.get(), target);
  }

  std::string base_;
};

}  // namespace

Result<void> enter_root_tree(const JailPlan& plan, const std::string& anchor) {
  const UniqueFd root = TRY(make_tmpfs({{"size", "4M"}, {"nr_inodes", "4096"}, {"mode", "0755"}}));
  TRY(attach(root.get(), anchor));
  const RootBuilder builder(anchor);
  for (const MountRow& row : plan.root) TRY(builder.apply(row));
  TRY(sys::retry("chdir(root)", [&] { return ::fchdir(root.get()); }));
  // pivot_root(".", ".") stacks the old root on the new one, where it is detached (pivot_root(2), NOTES).
  TRY(sys::retry("pivot_root", [] { return ::syscall(SYS_pivot_root, ".", "."); }));
  TRY(sys::retry("umount2(old root)", [] { return ::umount2(".", MNT_DETACH); }));
  TRY(sys::retry("chdir(/)", [] { return ::chdir("/"); }));
  return set_attributes(root.get(), MOUNT_ATTR_RDONLY, 0);
}

Result<UniqueFd> make_scratch(const JailPlan& plan) {
  UniqueFd scratch = TRY(make_tmpfs({{"size", fmt::format("{}", plan.scratch_bytes)},
                                     {"nr_inodes", fmt::format("{}", plan.scratch_inodes)}}));
  for (const ScratchRow& row : plan.scratch)
    TRY(sys::retry(fmt::format("mkdirat({})", row.folder), [&] {
      return ::mkdirat(scratch.get(), row.folder.c_str(), 0700);
    }));
  return scratch;
}

// The whole tmpfs goes to the last row's place first, the rows are bound from there, and the last of them covers it.
// (Cloning from a mount that is attached nowhere would need no such order, and Linux 6.15.)
Result<void> mount_scratch(const JailPlan& plan, int scratch) {
  const std::string& anchor = plan.scratch.back().target;
  TRY(attach(scratch, anchor));
  for (const ScratchRow& row : plan.scratch) {
    const std::string source = anchor + "/" + row.folder;
    TRY(sys::retry(fmt::format("mount(\"{}\", bind)", row.target), [&] {
      return ::mount(source.c_str(), row.target.c_str(), nullptr, MS_BIND, nullptr);
    }));
  }
  return {};
}

Result<void> mount_proc() {
  TRY(sys::retry("mount(proc)", [] {
    return ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  }));
  return {};
}

}  // namespace coderunner
