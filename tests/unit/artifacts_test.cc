// Role: tests of worker/artifacts.h.
#include "worker/artifacts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "common/frame.h"
#include "tests/support/artifact_recorder.h"
#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"

namespace coderunner {
namespace {

using test::collect;
using test::kNested;
using test::kOnDisk;
using test::kTop;
using test::Recorder;
using test::ScratchDir;

TEST_CASE("regular files come whole, sorted, with whatever name and content") {
  const ScratchDir dir;
  dir.make_dir("output");
  std::map<std::string, std::string> expected = {
      {"empty", ""}, {"text", "a,b\n1,2"}, {"nul", std::string("\0\xff", 2)}, {".hidden", "h"},
      {"piece", std::string(kMaxPayload, 'p')},
      {"pieces", std::string(kMaxPayload * 2 + 1, 'q')},
  };
  for (const std::string& name : test::kHostileNames) expected[name] = "content of " + name;
  for (const auto& [name, content] : expected) dir.make_file("output/" + name, content);
  Recorder sink;
  const Collected collected = collect(dir, kTop, {}, sink);
  CHECK_FALSE(collected.refused);
  CHECK(sink.files == expected);
  CHECK(sink.skipped.empty());
  CHECK(std::ranges::is_sorted(sink.headers, {}, &ArtifactHeader::name));
}

TEST_CASE("what is not a regular file of the job is named, not opened and not followed") {
  const ScratchDir outside;
  outside.make_file("secret", "secret");
  const ScratchDir dir;
  dir.make_dir("output");
  dir.make_file("output/good", "good");
  dir.make_link(outside.path() + "/secret", "output/link");
  dir.make_link("good", "output/inner link");
  dir.make_link("nowhere", "output/dangling");
  dir.make_link(outside.path(), "output/link to folder");
  dir.make_link("/dev/zero", "output/link to device");
  dir.make_fifo("output/fifo");  // opening it for reading would wait for a writer
  dir.make_socket("output/socket");
  dir.make_dir("output/folder");
  dir.make_file("output/folder/below", "below");
  dir.make_file("beside", "not in output");
  std::map<std::string, std::string> skipped = {
      {"link", "symbolic link"}, {"inner link", "symbolic link"}, {"dangling", "symbolic link"},
      {"link to folder", "symbolic link"}, {"link to device", "symbolic link"}, {"fifo", "fifo"}, {"socket", "socket"},
      {"folder", "directory"},
  };
  if (::geteuid() == 0) {
    REQUIRE(::mknodat(dir.fd(), "output/device", S_IFCHR | 0600, makedev(1, 5)) == 0);
    skipped["device"] = "device";
  }
  Recorder top;
  CHECK_FALSE(collect(dir, kTop, {}, top).refused);
  CHECK(top.files == std::map<std::string, std::string>{{"good", "good"}});
  CHECK(top.skipped == skipped);

  skipped.erase("folder");
  Recorder nested;
  collect(dir, kNested, {}, nested);
  CHECK(nested.files == std::map<std::string, std::string>{{"folder/below", "below"}, {"good", "good"}});
  CHECK(nested.skipped == skipped);
}

TEST_CASE("every type of file but a regular one has a reason") {
  const struct { const char* path; const char* reason; } rows[] = {
      {"/dev/null", "device"}, {"/dev", "directory"}, {"/proc/self/exe", "symbolic link"}, {"/proc/self/stat", ""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.path);
    struct stat found{};
    REQUIRE(::lstat(row.path, &found) == 0);
    CHECK(skip_reason(found.st_mode) == row.reason);
  }
  CHECK(skip_reason(S_IFBLK) == "device");
  CHECK(skip_reason(S_IFIFO) == "fifo");
  CHECK(skip_reason(S_IFSOCK) == "socket");
  CHECK(skip_reason(0) == "not a regular file");
}

TEST_CASE("an output folder that is none gives no artifacts") {
  const ScratchDir outside;
  outside.make_file("secret", "secret");
  const struct { std::string what, reason; } rows[] = {
      {"missing", ""}, {"link", "symbolic link"}, {"file", "not a directory"}, {"fifo", "fifo"}, {"socket", "socket"},
  };
  for (const ArtifactRules& rules : {kTop, kNested}) {
    for (const auto& row : rows) {
      CAPTURE(row.what);
      const ScratchDir dir;
      if (row.what == "link") dir.make_link(outside.path(), "output");
      if (row.what == "file") dir.make_file("output", "x");
      if (row.what == "fifo") dir.make_fifo("output");
      if (row.what == "socket") dir.make_socket("output");
      Recorder sink;
      CHECK_FALSE(collect(dir, rules, {}, sink).refused);
      CHECK(sink.files.empty());
      std::map<std::string, std::string> skipped;
      if (!row.reason.empty()) skipped["output"] = row.reason;
      CHECK(sink.skipped == skipped);
    }
  }
}

TEST_CASE("folders come by their path in files mode, sorted by the whole name") {
  const ScratchDir dir;
  dir.make_dir("output");
  for (const char* folder : {"a", "a/b", "a.d", "empty"}) dir.make_dir(std::string("output/") + folder);
  std::map<std::string, std::string> expected;
  for (const char* name : {"a/b/x", "a/y", "a.d/z", "a-first", "z", "a/\n\xff"}) {
    dir.make_file(std::string("output/") + name, name);
    expected[name] = name;
  }
  Recorder sink;
  collect(dir, kNested, {}, sink);
  CHECK(sink.files == expected);
  CHECK(sink.skipped.empty());
  CHECK(std::ranges::is_sorted(sink.headers, {}, &ArtifactHeader::name));
}

TEST_CASE("hard links are taken only where the job had nothing else to link to") {
  const ScratchDir dir;
  dir.make_file("outside", "secret");
  dir.make_dir("output");
  dir.make_hard_link("outside", "output/linked");
  dir.make_file("output/own", "own");
  Recorder on_disk;
  collect(dir, kOnDisk, {}, on_disk);
  CHECK(on_disk.files == std::map<std::string, std::string>{{"own", "own"}});
  CHECK(on_disk.skipped == std::map<std::string, std::string>{{"linked", "hard link"}});
  Recorder on_private;
  collect(dir, kTop, {}, on_private);
  CHECK(on_private.files == std::map<std::string, std::string>{{"linked", "secret"}, {"own", "own"}});
}

TEST_CASE("what a script locked up is returned all the same") {
  CHECK(test::as_plain_user([]() -> std::string {
          const ScratchDir dir;
          dir.make_dir("output");
          dir.make_dir("output/folder");
          dir.make_file("output/folder/file", "deep", 0000);
          dir.make_file("output/file", "locked", 0000);
          dir.make_file("output/write-only", "written", 0200);
          dir.set_mode("output/folder", 0000);
          dir.set_mode("output", 0000);
          Recorder sink;
          const auto collected = collect_artifacts(dir.fd(), kNested, {}, sink);
          if (!collected) return collected.error().message;
          for (const auto& [name, reason] : sink.skipped) return fmt::format("{}: {}", name, reason);
          const std::map<std::string, std::string> expected = {
              {"file", "locked"}, {"folder/file", "deep"}, {"write-only", "written"}};
          return sink.files == expected ? "" : "wrong contents";
        }) == "");
}

TEST_CASE("files of another owner or file system are not the job's") {
  CHECK(test::with_mounts([]() -> std::string {
          const ScratchDir dir;
          dir.make_dir("output");
          dir.make_dir("output/mounted");
          dir.make_file("output/bound", "");
          dir.make_file("output/own", "own");
          if (const auto trouble = test::mount_tmpfs(dir.path() + "/output/mounted", 1 << 20, 16); !trouble.empty())
            return trouble;
          dir.make_file("output/mounted/inside", "x");
          const std::string bound = dir.path() + "/output/bound";
          if (::mount((dir.path() + "/output/mounted/inside").c_str(), bound.c_str(), nullptr, MS_BIND, nullptr) != 0)
            return "bind";
          Recorder sink;
          const auto collected = collect_artifacts(dir.fd(), kNested, {}, sink);
          ::umount2(bound.c_str(), MNT_DETACH);
          ::umount2((dir.path() + "/output/mounted").c_str(), MNT_DETACH);
          if (!collected) return collected.error().message;
          const std::map<std::string, std::string> skipped = {{"bound", "other file system"},
                                                              {"mounted", "other file system"}};
          if (sink.skipped != skipped) return "wrong reasons";
          return sink.files == std::map<std::string, std::string>{{"own", "own"}} ? "" : "wrong files";
        }) == "");
  // Only root can give a file away; for others the kernel sees to it that there is none (chown(2), EPERM).
  const ScratchDir dir;
  dir.make_dir("output");
  dir.make_file("output/file", "x");
  if (::geteuid() == 0) {
    REQUIRE(::fchownat(dir.fd(), "output/file", 12345, 12345, 0) == 0);
    Recorder sink;
    collect(dir, kTop, {}, sink);
    CHECK(sink.files.empty());
    CHECK(sink.skipped == std::map<std::string, std::string>{{"file", "other owner"}});
  }
}

TEST_CASE("a sink that fails ends the collection with its error") {
  const ScratchDir dir;
  dir.make_dir("output");
  dir.make_file("output/a", "x");
  dir.make_link("x", "output/b");
  for (const int calls : {0, 1, 2}) {  // header, data, skipped header
    Recorder sink;
    sink.calls_left = calls;
    const auto collected = collect_artifacts(dir.fd(), kTop, {}, sink);
    REQUIRE_FALSE(collected);
    CHECK(collected.error().message == "peer gone");
  }
  Recorder sink;
  sink.calls_left = 3;
  CHECK(collect_artifacts(dir.fd(), kTop, {}, sink));
}

}  // namespace
}  // namespace coderunner
