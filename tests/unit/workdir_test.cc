// Role: tests of worker/workdir.h.
#include "worker/workdir.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"
#include "common/directory.h"

namespace coderunner {
namespace {

using test::ScratchDir;

Workdir open_workdir(const ScratchDir& dir, const Limits& limits = {}) {
  return Workdir(UniqueFd(::openat(dir.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), limits);
}

// Sends a file as a supervisor would; the fault of the first step that fails.
std::optional<Fault> put(Workdir& workdir, const std::string& path, std::string_view content, bool read_only = false) {
  if (const auto begun = workdir.begin_file({path, content.size(), read_only}); !begun) return begun.error().fault;
  if (content.empty()) return std::nullopt;
  if (const auto added = workdir.append(content); !added) return added.error().fault;
  return std::nullopt;
}

TEST_CASE("a prepared working directory holds input and output, private") {
  const ScratchDir dir;
  Workdir workdir = open_workdir(dir);
  REQUIRE(workdir.prepare());
  for (const char* name : {"input", "output"}) CHECK(dir.mode(name) == (S_IFDIR | 0700));
  CHECK_FALSE(workdir.prepare());  // not empty any more
}

TEST_CASE("files arrive in pieces, with their folders and permissions") {
  const ScratchDir dir;
  Workdir workdir = open_workdir(dir);
  REQUIRE(workdir.prepare());
  CHECK(workdir.complete());
  REQUIRE(workdir.begin_file({"script.py", 6, false}));
  CHECK_FALSE(workdir.complete());
  REQUIRE(workdir.append("abc"));
  CHECK_FALSE(workdir.complete());
  REQUIRE(workdir.append(std::string_view("\0\n\xff", 3)));
  CHECK(workdir.complete());
  CHECK(put(workdir, "input/data.csv", "x", true) == std::nullopt);
  CHECK(put(workdir, "pkg/deep/er/main.py", "y") == std::nullopt);
  CHECK(put(workdir, "pkg/deep/other.py", "") == std::nullopt);
  CHECK(workdir.complete());

  CHECK(dir.content("script.py") == std::string("abc\0\n\xff", 6));
  CHECK(dir.mode("script.py") == (S_IFREG | 0600));
  CHECK(dir.content("input/data.csv") == "x");
  CHECK(dir.mode("input/data.csv") == (S_IFREG | 0400));
  CHECK(dir.content("pkg/deep/er/main.py") == "y");
  CHECK(dir.content("pkg/deep/other.py").empty());
  for (const char* folder : {"pkg", "pkg/deep", "pkg/deep/er"}) CHECK(dir.mode(folder) == (S_IFDIR | 0700));
}

TEST_CASE("only paths that a supervisor may send are written") {
  const auto path_of = [](std::size_t bytes) {
    std::string path;
    while (path.size() + 2 < bytes) path += "d/";
    return path + std::string(bytes - path.size(), 'f');
  };
  const struct { std::string path; bool good; } rows[] = {
      {"a", true}, {"a.py", true}, {"a/b/c", true}, {"a..b", true}, {"a b\n\"'\xff", true}, {"\\x", true},
      {"-rf", true}, {std::string(255, 'n'), true}, {path_of(1030), true},
      {"", false}, {"/", false}, {"/etc/passwd", false}, {"..", false}, {"../a", false}, {"a/../b", false},
      {"a/..", false}, {".", false}, {"./a", false}, {"a/./b", false}, {"a//b", false}, {"a/", false}, {"//a", false},
      {".hidden", false}, {"a/.hidden/b", false}, {std::string("a\0b", 3), false}, {std::string("\0", 1), false},
      {std::string(256, 'n'), false}, {"a/" + std::string(256, 'n') + "/b", false}, {path_of(1031), false},
  };
  for (const auto& row : rows) {
    CAPTURE(quoted_name(row.path));
    CHECK(is_job_path(row.path) == row.good);
    const ScratchDir dir;
    Workdir workdir = open_workdir(dir);
    CHECK(put(workdir, row.path, "x") == (row.good ? std::nullopt : std::optional(Fault::kWorkerLost)));
    if (row.good) CHECK(dir.content(row.path) == "x");
  }
}

TEST_CASE("frames out of turn are the end of a worker") {
  const ScratchDir dir;
  Workdir workdir = open_workdir(dir);
  const auto lost = [](const Result<void>& result) { return !result && result.error().fault == Fault::kWorkerLost; };
  CHECK(lost(workdir.append("x")));                     // no file yet
  REQUIRE(workdir.begin_file({"a", 2, false}));
  CHECK(lost(workdir.begin_file({"b", 1, false})));     // a is not complete
  CHECK(lost(workdir.append("")));                      // empty frames are not sent
  CHECK(lost(workdir.append("xyz")));                   // more than announced
  CHECK(workdir.append("xy"));
  CHECK(lost(workdir.append("z")));                     // a is complete
  REQUIRE(workdir.begin_file({"empty", 0, false}));
  CHECK(workdir.complete());
  CHECK(lost(workdir.append("x")));
  CHECK(dir.content("a") == "xy");
  CHECK_FALSE(dir.exists("b"));
}

TEST_CASE("a job's files stay within the limits of a request") {
  Limits limits;
  limits.files = 2;
  limits.file_bytes = 10;
  limits.script_bytes = 5;
  limits.files_bytes = 15;
  const struct { std::vector<std::size_t> sizes; bool good; } rows[] = {
      {{10}, true}, {{11}, false},
      {{10, 10}, true}, {{10, 10, 1}, false},  // 15 and the script's 5
      {{1, 1, 1}, true}, {{1, 1, 1, 1}, false},
      {{0, 0, 0}, true}, {{0, 0, 0, 0}, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.sizes.size());
    const ScratchDir dir;
    Workdir workdir = open_workdir(dir, limits);
    std::optional<Fault> last;
    for (std::size_t i = 0; i < row.sizes.size(); ++i) {
      CHECK(last == std::nullopt);
      last = put(workdir, fmt::format("{}", i), std::string(row.sizes[i], 'x'));
    }
    CHECK(last == (row.good ? std::nullopt : std::optional(Fault::kWorkerLost)));
  }
  const ScratchDir dir;
  Workdir workdir = open_workdir(dir);
  CHECK(put(workdir, "a", "x") == std::nullopt);
  const auto huge = workdir.begin_file({"b", ~std::uint64_t{0}, false});  // would overflow a sum
  CHECK_FALSE(huge);
}

TEST_CASE("paths that contradict each other are the client's mistake") {
  const std::pair<const char*, const char*> rows[] = {
      {"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b", "a/b/c/d"}, {"x", "output"}, {"x", "input"},
  };
  for (const auto& [first, second] : rows) {
    CAPTURE(second);
    const ScratchDir dir;
    Workdir workdir = open_workdir(dir);
    REQUIRE(workdir.prepare());
    CHECK(put(workdir, first, "x") == std::nullopt);
    CHECK(put(workdir, second, "y") == Fault::kClient);
    CHECK(dir.content(first) == "x");
  }
}

TEST_CASE("a symbolic link in the way is never followed") {
  const ScratchDir outside;
  outside.make_file("file", "untouched");
  const ScratchDir dir;
  dir.make_link(outside.path(), "folder");
  dir.make_link(outside.path() + "/file", "name");
  dir.make_link(outside.path() + "/new", "dangling");
  Workdir workdir = open_workdir(dir);
  for (const char* path : {"folder/new", "folder/sub/new", "name", "dangling"}) {
    CAPTURE(path);
    CHECK(put(workdir, path, "x") == Fault::kClient);
  }
  CHECK(outside.content("file") == "untouched");
  CHECK_FALSE(outside.exists("new"));
  CHECK_FALSE(outside.exists("sub"));
}

TEST_CASE("files that do not fit name the scratch limit") {
  const struct { std::string what; unsigned long bytes, inodes; } rows[] = {
      {"bytes", 64 << 10, 64}, {"inodes", 1 << 20, 4},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK(test::with_mounts([&]() -> std::string {
            const ScratchDir dir;
            dir.make_dir("work");
            if (const auto trouble = test::mount_tmpfs(dir.path() + "/work", row.bytes, row.inodes); !trouble.empty())
              return trouble;
            std::string seen = "no error";
            {
              Workdir workdir(UniqueFd(::openat(dir.fd(), "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), Limits{});
              if (!workdir.prepare()) return "prepare";
              for (int i = 0; i < 10 && seen == "no error"; ++i) {
                auto result = workdir.begin_file({fmt::format("folder/{}", i), 20'000, false});
                if (result) result = workdir.append(std::string(20'000, 'x'));
                if (!result && result.error().fault == Fault::kTooLarge) seen = result.error().message;
              }
            }
            ::umount2((dir.path() + "/work").c_str(), MNT_DETACH);
            const bool told = seen.find("scratch space is limited to 268435456 bytes and 16384 inodes") != seen.npos;
            return told ? "" : seen;
          }) == "");
  }
}

TEST_CASE("the directories of the reduced level are made anew for each job") {
  const ScratchDir temp;
  temp.make_dir("elsewhere");
  temp.make_file("elsewhere/file", "kept");
  temp.make_dir("worker-3");
  temp.make_dir("worker-3/fresh");
  temp.make_file("worker-3/fresh/leftover", "x");
  temp.make_file("worker-3/other", "kept");
  temp.make_link("elsewhere", "worker-4");
  temp.make_dir("worker-5");
  temp.make_link("../elsewhere", "worker-5/fresh");
  const auto folder_of = [&](std::uint32_t index) { return JobFolder{temp.path(), index, "fresh"}; };
  for (const std::uint32_t index : {3u, 4u, 5u, 6u, 6u}) {
    CAPTURE(index);
    auto dirs = make_reduced(folder_of(index));
    REQUIRE(dirs);
    const std::string root = fmt::format("worker-{}/fresh", index);
    CHECK(folder_of(index).path() == temp.path() + "/" + root);
    CHECK(temp.mode(root) == (S_IFDIR | 0700));
    CHECK(temp.mode(root + "/work") == (S_IFDIR | 0700));
    CHECK(temp.mode(root + "/tmp") == (S_IFDIR | 0700));
    CHECK_FALSE(temp.exists(root + "/leftover"));
    CHECK_FALSE(temp.exists(root + "/work/script.py"));
    CHECK(dirs->work_path == temp.path() + "/" + root + "/work");
    CHECK(dirs->tmp_path == temp.path() + "/" + root + "/tmp");
    Workdir workdir(std::move(dirs->work), Limits{});
    REQUIRE(workdir.prepare());
    CHECK(put(workdir, "script.py", "x") == std::nullopt);
    CHECK(temp.content(root + "/work/script.py") == "x");
  }
  CHECK(temp.content("elsewhere/file") == "kept");
  CHECK(temp.content("worker-3/other") == "kept");
  REQUIRE(remove_reduced(folder_of(6)));
  CHECK_FALSE(temp.exists("worker-6/fresh"));
  CHECK(temp.exists("worker-4/fresh"));
  CHECK(remove_reduced(folder_of(6)));
  CHECK_FALSE(make_reduced({temp.path() + "/missing", 1, "fresh"}));
}

TEST_CASE("a folder that a full disk has no names for leaves none behind") {
  CHECK(test::with_mounts([]() -> std::string {
          const ScratchDir dir;
          dir.make_dir("temp");
          for (unsigned long inodes = 2;; ++inodes) {  // the disk's own folder takes the first
            if (const auto trouble = test::mount_tmpfs(dir.path() + "/temp", 1 << 20, inodes); !trouble.empty())
              return trouble;
            const bool made = make_reduced({dir.path() + "/temp", 1, "fresh"}).has_value();
            const bool there = dir.exists("temp/worker-1/fresh");
            ::umount2((dir.path() + "/temp").c_str(), MNT_DETACH);
            if (made != there) return fmt::format("{} names: {}", inodes, made ? "made, but not there" : "left behind");
            if (made) return inodes == 5 ? "" : fmt::format("made with {} names", inodes);
          }
        }) == "");
}

TEST_CASE("a worker's folder gets its permissions back, a link in its place is not followed") {
  const ScratchDir temp;
  temp.make_dir("worker-1");
  REQUIRE(::chmod((temp.path() + "/worker-1").c_str(), 0) == 0);
  REQUIRE(make_reduced({temp.path(), 1, "fresh"}));
  CHECK(temp.mode("worker-1") == (S_IFDIR | 0700));
  temp.make_dir("elsewhere");
  REQUIRE(::chmod((temp.path() + "/elsewhere").c_str(), 0755) == 0);
  temp.make_link("elsewhere", "worker-2");
  REQUIRE(make_reduced({temp.path(), 2, "fresh"}));
  CHECK(temp.mode("elsewhere") == (S_IFDIR | 0755));
  CHECK(temp.mode("worker-2") == (S_IFDIR | 0700));
}

}  // namespace
}  // namespace coderunner
