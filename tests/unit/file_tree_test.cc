// Role: tests of common/file_tree.h.
#include "common/file_tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"

namespace coderunner {
namespace {

using test::ScratchDir;

constexpr Bytes kNoLimit = ~Bytes{0};

std::string removal(const ScratchDir& dir, const std::string& name) {
  const auto removed = remove_tree(dir.fd(), name);
  if (!removed) return removed.error().message;
  return dir.exists(name) ? "still there" : "";
}

TEST_CASE("removing takes one entry of any kind, and nothing that it points to") {
  const ScratchDir dir;
  dir.make_dir("kept");
  dir.make_file("kept/file", "x");
  dir.make_file("file", "x");
  dir.make_fifo("fifo");
  dir.make_socket("socket");
  dir.make_dir("empty");
  dir.make_link("kept", "link");
  dir.make_link("nowhere", "dangling");
  dir.make_dir("tree");
  dir.make_link("../kept", "tree/link");
  dir.make_link(dir.path() + "/kept", "tree/absolute");
  dir.make_hard_link("kept/file", "tree/hard");
  dir.make_dir("tree/below");
  dir.make_link("../../kept", "tree/below/link");
  for (const char* name : {"file", "fifo", "socket", "empty", "link", "dangling", "tree", "missing"}) {
    CAPTURE(name);
    CHECK(removal(dir, name) == "");
  }
  CHECK(dir.content("kept/file") == "x");
}

TEST_CASE("names of any bytes are removed, at every depth") {
  const ScratchDir dir;
  dir.make_dir("tree");
  for (const std::string& name : test::kHostileNames) {
    dir.make_dir("tree/" + name);
    dir.make_dir("tree/" + name + "/" + name);
    for (const std::string& file : test::kHostileNames) dir.make_file("tree/" + name + "/" + name + "/" + file, "x");
  }
  CHECK(removal(dir, "tree") == "");
}

TEST_CASE("a tree of 10,000 levels is removed with a handful of descriptors") {
  CHECK(test::in_child([]() -> std::string {
          const ScratchDir dir(test::Place::kMemory);
          dir.make_chain("deep", 10'000, "leaf");
          const rlimit few{16, 16};
          if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return "setrlimit";
          return removal(dir, "deep");
        }) == "");
}

TEST_CASE("100,000 files and 10,000 folders with content are removed") {
  const ScratchDir dir(test::Place::kMemory);
  dir.make_dir("wide");
  for (int i = 0; i < 100'000; ++i) dir.make_file(fmt::format("wide/{}", i), "");
  dir.make_dir("folders");
  dir.make_dir("folders/below");
  for (int i = 0; i < 10'000; ++i) {
    dir.make_dir(fmt::format("folders/below/{}", i));
    dir.make_dir(fmt::format("folders/below/{}/x", i));
  }
  CHECK(removal(dir, "wide") == "");
  CHECK(removal(dir, "folders") == "");
}

TEST_CASE("the names that removal itself gives may be taken") {
  const ScratchDir dir;
  dir.make_dir("tree");
  dir.make_file("tree/removed-0", "x");
  dir.make_dir("tree/removed-1");
  dir.make_file("tree/removed-1/x", "x");
  dir.make_dir("tree/removed-2");
  dir.make_chain("tree/a", 5, "x");
  dir.make_chain("tree/b", 5, "x");
  CHECK(removal(dir, "tree") == "");
}

TEST_CASE("directories that lost their permissions are removed") {
  CHECK(test::as_plain_user([]() -> std::string {
          for (const mode_t mode : {0000, 0100, 0200, 0300, 0400, 0500, 0600, 0700}) {
            const ScratchDir dir;
            dir.make_dir("tree");
            dir.make_dir("tree/outer");
            dir.make_dir("tree/outer/inner");
            dir.make_dir("tree/outer/inner/last");
            dir.make_file("tree/outer/inner/last/file", "x", 0000);
            for (const char* name : {"tree/outer/inner/last", "tree/outer/inner", "tree/outer", "tree"})
              dir.set_mode(name, mode);
            if (const std::string trouble = removal(dir, "tree"); !trouble.empty())
              return fmt::format("{:o}: {}", mode, trouble);
          }
          return "";
        }) == "");
}

TEST_CASE("removal does not cross into another file system") {
  for (const std::string mount_point : {"tree", "tree/a", "tree/a/b/c"}) {
    CAPTURE(mount_point);
    CHECK(test::with_mounts([&]() -> std::string {
            const ScratchDir dir;
            for (const char* folder : {"tree", "tree/a", "tree/a/b", "tree/a/b/c"}) dir.make_dir(folder);
            const std::string place = dir.path() + "/" + mount_point;
            if (const auto trouble = test::mount_tmpfs(place, 1 << 20, 16); !trouble.empty()) return trouble;
            dir.make_file(mount_point + "/precious", "x");
            const UniqueFd mounted(::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
            const auto removed = remove_tree(dir.fd(), "tree");
            const bool survived = ::faccessat(mounted.get(), "precious", F_OK, 0) == 0;
            // Removal may have moved the folders above the mount point, so it is unmounted where it stands now.
            if (::fchdir(mounted.get()) != 0 || ::umount2(".", MNT_DETACH) != 0) return "umount";
            if (removed) return "no error";
            return survived ? "" : "crossed";
          }) == "");
  }
}

TEST_CASE("removal that is not done at its deadline says so") {
  const ScratchDir dir;
  dir.make_chain("tree", 3, "leaf");
  const auto removed = remove_tree(dir.fd(), "tree", Deadline::in(Millis(0)));
  REQUIRE_FALSE(removed);
  CHECK(removed.error().message == "remove_tree: the tree is not gone in time");
  CHECK(removal(dir, "tree") == "");
}

TEST_CASE("removal ends while others remove the same tree") {
  const ScratchDir dir(test::Place::kMemory);
  dir.make_dir("tree");
  for (int i = 0; i < 3000; ++i) dir.make_chain(fmt::format("tree/{}", i), 2, "leaf");
  // Both begin when the pipe is closed, so that they meet.
  int start[2];
  REQUIRE(::pipe2(start, O_CLOEXEC) == 0);
  UniqueFd wait(start[0]), go(start[1]);
  std::thread other([&] {
    CHECK(test::in_child([&] {
            go.reset();
            char byte = 0;
            return ::read(wait.get(), &byte, 1) == 0 ? removal(dir, "tree") : "read";
          }) == "");
  });
  go.reset();
  CHECK(removal(dir, "tree") == "");
  other.join();
}

// Allocated bytes and number of everything in the directory's top level, by another way than the walk's.
DiskUse top_level_use(const ScratchDir& dir, std::initializer_list<const char*> names) {
  DiskUse use;
  for (const char* name : names) {
    struct stat found{};
    REQUIRE(::fstatat(dir.fd(), name, &found, AT_SYMLINK_NOFOLLOW) == 0);
    use.bytes += static_cast<Bytes>(found.st_blocks) * 512;
    ++use.inodes;
  }
  return use;
}

TEST_CASE("disk use counts what is allocated, each hard link once, and follows nothing") {
  const ScratchDir outside;
  outside.make_file("huge", std::string(1 << 20, 'x'));
  const ScratchDir dir;
  dir.make_file("file", std::string(100'000, 'x'));
  dir.make_sparse("sparse", off_t{1} << 40);
  dir.make_dir("folder");
  dir.make_file("folder/below", std::string(10'000, 'x'));
  dir.make_link(outside.path(), "link");
  dir.make_fifo("fifo");
  const DiskUse expected = top_level_use(dir, {"file", "sparse", "folder", "folder/below", "link", "fifo"});
  dir.make_hard_link("file", "again");
  dir.make_hard_link("file", "folder/and again");
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto use = disk_use(dir.fd(), kNoLimit, kNoLimit);
    REQUIRE(use);
    CHECK(use->bytes == expected.bytes);
    CHECK(use->inodes == expected.inodes);
    CHECK(use->complete);
  }
  CHECK(expected.bytes >= 110'000);
  CHECK(expected.bytes < 1 << 20);
}

TEST_CASE("disk use stops above a limit, not at it") {
  const ScratchDir dir;
  for (int i = 0; i < 10; ++i) dir.make_file(fmt::format("{}", i), std::string(4096, 'x'));
  dir.make_chain("chain", 9, "");
  const auto all = disk_use(dir.fd(), kNoLimit, kNoLimit);
  REQUIRE(all);
  CHECK(all->inodes == 20);
  const struct { Bytes bytes; std::uint64_t inodes; bool complete; } rows[] = {
      {all->bytes, all->inodes, true}, {all->bytes - 1, all->inodes, false}, {all->bytes, all->inodes - 1, false},
      {0, all->inodes, false},         {all->bytes, 3, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.bytes);
    CAPTURE(row.inodes);
    const auto use = disk_use(dir.fd(), row.bytes, row.inodes);
    REQUIRE(use);
    CHECK(use->complete == row.complete);
    CHECK(use->inodes <= row.inodes + 1);
    if (!row.complete) CHECK((use->bytes > row.bytes || use->inodes > row.inodes));
  }
}

TEST_CASE("disk use of 10,000 levels takes a handful of descriptors") {
  CHECK(test::in_child([]() -> std::string {
          const ScratchDir dir(test::Place::kMemory);
          dir.make_chain("deep", 10'000, "leaf");
          dir.make_chain("beside", 3, "leaf");
          const rlimit few{16, 16};
          if (::setrlimit(RLIMIT_NOFILE, &few) != 0) return "setrlimit";
          const auto use = disk_use(dir.fd(), kNoLimit, kNoLimit);
          if (!use) return use.error().message;
          return use->complete && use->inodes == 10'000 + 2 + 3 + 2 ? "" : fmt::format("{} inodes", use->inodes);
        }) == "");
}

TEST_CASE("disk use sees into directories that were made unreadable") {
  CHECK(test::as_plain_user([]() -> std::string {
          for (const mode_t mode : {0000, 0300, 0400}) {  // 0400: its names can be read, not what they are
            const ScratchDir dir;
            dir.make_dir("locked");
            dir.make_file("locked/file", "x");
            dir.make_file("z", "x");
            dir.set_mode("locked", mode);
            if (::fchmod(dir.fd(), mode) != 0) return "fchmod";
            const auto use = disk_use(dir.fd(), kNoLimit, kNoLimit);
            if (!use) return use.error().message;
            if (!use->complete) return fmt::format("{:o}: not complete", mode);
            if (use->inodes != 3) return fmt::format("{:o}: {} inodes", mode, use->inodes);
          }
          return "";
        }) == "");
}

TEST_CASE("disk use leaves out other file systems") {
  CHECK(test::with_mounts([]() -> std::string {
          const ScratchDir dir;
          dir.make_dir("folder");
          dir.make_file("file", "x");
          const std::string trouble = test::mount_tmpfs(dir.path() + "/folder", 1 << 20, 16);
          if (!trouble.empty()) return trouble;
          dir.make_file("folder/inside", std::string(100'000, 'x'));
          const auto use = disk_use(dir.fd(), kNoLimit, kNoLimit);
          ::umount2((dir.path() + "/folder").c_str(), MNT_DETACH);
          if (!use) return use.error().message;
          return use->inodes == 1 ? "" : fmt::format("{} inodes", use->inodes);
        }) == "");
}

}  // namespace
}  // namespace coderunner
