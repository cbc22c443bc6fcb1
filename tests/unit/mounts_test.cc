// Role: each kind of mount gets the flags that it should have, whatever the file system under it had before.
#include "worker/mounts.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "common/sys.h"
#include "support/forked.h"
#include "support/scratch_dir.h"

namespace coderunner {
namespace {

// The flags of the mount at `path`, as mount(8) would name them; "default" when it has none.
std::string flags_of(const std::string& path) {
  struct statvfs found{};
  if (::statvfs(path.c_str(), &found) != 0) return sys::last_error("statvfs").message;
  std::string out;
  const std::pair<unsigned long, const char*> kNames[] = {
      {ST_RDONLY, "ro,"}, {ST_NOSUID, "nosuid,"}, {ST_NODEV, "nodev,"}, {ST_NOEXEC, "noexec,"}};
  for (const auto& [flag, name] : kNames)
    if ((found.f_flag & flag) != 0) out += name;
  if (out.empty()) return "default";
  out.pop_back();
  return out;
}

struct Tmpfs {
  unsigned long bytes, inodes;
};
Tmpfs size_of(const std::string& path) {
  struct statfs found{};
  if (::statfs(path.c_str(), &found) != 0) return {};
  return {found.f_blocks * static_cast<unsigned long>(found.f_bsize), found.f_files};
}

struct Row {
  const char* path;
  const char* flags;
};

// In a mount namespace, on a file system that forbids nothing: every flag found afterwards is the jail's.
std::string built_tree(const std::string& base) {
  if (::mount("tmpfs", base.c_str(), "tmpfs", 0, nullptr) != 0) return sys::last_error("mount(tmpfs)").message;
  for (const char* name : {"/tree", "/tree/below", "/proc", "/anchor"})
    if (::mkdir((base + name).c_str(), 0755) != 0) return sys::last_error("mkdir").message;
  // A mount on the tree: the flags have to reach what hangs on it as well.
  if (::mount("tmpfs", (base + "/tree/below").c_str(), "tmpfs", 0, nullptr) != 0) return "mount(below)";
  for (const char* name : {"/tree/f", "/file", "/device"}) std::ofstream(base + name) << "content";
  for (const char* name : {"/tree", "/tree/below", "/file"})
    if (flags_of(base + name) != "default") return fmt::format("{} forbids something by itself", name);

  JailPlan plan;
  plan.root = {{MountKind::kReadOnlyBind, base + "/tree", "/usr", "test"},
               {MountKind::kReadOnlyBind, base + "/file", "/etc/file", "test"},
               {MountKind::kDeviceBind, base + "/device", "/dev/null", "test"},
               {MountKind::kHostProc, base + "/proc", "/proc", "test"},
               {MountKind::kFile, "own", "/etc/own", "test"},
               {MountKind::kDirectory, "", "/work", "test"},
               {MountKind::kDirectory, "", "/tmp", "test"}};
  plan.scratch = {{"work", "/work"}, {"tmp", "/tmp"}};
  plan.scratch_bytes = 5 * kMiB;
  plan.scratch_inodes = 77;
  if (const auto entered = enter_root_tree(plan, base + "/anchor"); !entered) return entered.error().message;
  const auto scratch = make_scratch(plan);
  if (!scratch) return scratch.error().message;
  if (const auto mounted = mount_scratch(plan, scratch->get()); !mounted) return mounted.error().message;

  const Row kRows[] = {{"/", "ro,nosuid,nodev"}, {"/usr", "ro,nosuid,nodev"}, {"/usr/below", "ro,nosuid,nodev"},
                       {"/etc/file", "ro,nosuid,nodev"}, {"/etc/own", "ro,nosuid,nodev"},
                       {"/dev/null", "nosuid,noexec"}, {"/work", "nosuid,nodev"}, {"/tmp", "nosuid,nodev"}};
  std::string wrong;
  for (const Row& row : kRows)
    if (const std::string found = flags_of(row.path); found != row.flags)
      wrong += fmt::format("{}: {} instead of {}\n", row.path, found, row.flags);
  if (const Tmpfs work = size_of("/work"); work.bytes != 5 * kMiB || work.inodes != 77)
    wrong += fmt::format("/work: {} bytes, {} inodes\n", work.bytes, work.inodes);
  if (const Tmpfs root = size_of("/"); root.bytes != 4 * kMiB || root.inodes != 4096)
    wrong += fmt::format("/: {} bytes, {} inodes\n", root.bytes, root.inodes);
  struct stat folder{};
  if (::stat("/work", &folder) != 0 || (folder.st_mode & 07777) != 0700) wrong += "/work: not private\n";
  if (::access(base.c_str(), F_OK) == 0) wrong += "the host's tree is still there\n";
  return wrong;
}

TEST_CASE("the tree of a jail forbids what its plan says, whatever the host allows") {
  const test::ScratchDir base;
  CHECK(test::with_mounts([&] { return built_tree(base.path()); }) == "");
}

}  // namespace
}  // namespace coderunner
