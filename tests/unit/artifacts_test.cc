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
#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"
#include "worker/workdir.h"

namespace coderunner {
namespace {

using test::ScratchDir;

// Keeps what it is given and checks the order of it.
class Recorder : public ArtifactSink {
 public:
  Result<void> on_artifact(const ArtifactHeader& header) override {
    if (missing_ > 0) faults.push_back("a header before the last file was complete");
    headers.push_back(header);
    if (header.skipped.empty()) {
      files[header.name];
      missing_ = header.bytes;
    } else {
      skipped[header.name] = header.skipped;
    }
    return answer();
  }
  Result<void> on_data(std::string_view bytes) override {
    if (bytes.empty() || bytes.size() > kMaxPayload || bytes.size() > missing_) faults.push_back("a piece of wrong size");
    missing_ -= std::min<Bytes>(missing_, bytes.size());
    files[headers.back().name] += bytes;
    return answer();
  }

  std::vector<ArtifactHeader> headers;
  std::map<std::string, std::string> files, skipped;
  std::vector<std::string> faults;
  int calls_left = -1;  // then the peer is gone; -1: never

 private:
  Result<void> answer() {
    if (calls_left == 0) return fail(Fault::kWorkerLost, "peer gone");
    if (calls_left > 0) --calls_left;
    return {};
  }
  Bytes missing_ = 0;
};

constexpr ArtifactRules kTop{.nested = false, .private_filesystem = true};
constexpr ArtifactRules kNested{.nested = true, .private_filesystem = true};
constexpr ArtifactRules kOnDisk{.nested = false, .private_filesystem = false};

Collected collect(const ScratchDir& dir, const ArtifactRules& rules, const Limits& limits, Recorder& sink) {
  const auto collected = collect_artifacts(dir.fd(), rules, limits, sink);
  REQUIRE(collected);
  CHECK(sink.faults.empty());
  CHECK(collected->files == sink.files.size());
  CHECK(collected->skipped == sink.headers.size() - sink.files.size());
  Bytes bytes = 0;
  for (const auto& [name, content] : sink.files) bytes += content.size();
  CHECK(collected->bytes == bytes);
  return *collected;
}

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
      CHECK(sink.skipped ==
            (row.reason.empty() ? std::map<std::string, std::string>{} : std::map<std::string, std::string>{{"output", row.reason}}));
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
          const std::map<std::string, std::string> skipped = {{"bound", "other file system"}, {"mounted", "other file system"}};
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

TEST_CASE("artifacts up to the limit of bytes are sent, one byte more refuses all") {
  Limits limits;
  limits.artifacts_bytes = 100;
  const struct { std::map<std::string, std::size_t> sizes; std::map<std::string, std::string> skipped; } rows[] = {
      {{{"a", 60}, {"b", 40}}, {}},
      {{{"a", 100}}, {}},
      {{{"a", 60}, {"b", 41}}, {{"a", "total too large"}, {"b", "total too large"}}},
      {{{"a", 101}}, {{"a", "too large"}}},
      {{{"a", 101}, {"b", 1}, {"c", 0}}, {{"a", "too large"}, {"b", "total too large"}, {"c", "total too large"}}},
  };
  for (const auto& row : rows) {
    const ScratchDir dir;
    dir.make_dir("output");
    for (const auto& [name, bytes] : row.sizes) dir.make_file("output/" + name, std::string(bytes, 'x'));
    Recorder sink;
    CHECK(collect(dir, kTop, limits, sink).refused == !row.skipped.empty());
    CHECK(sink.skipped == row.skipped);
    CHECK(sink.files.size() == (row.skipped.empty() ? row.sizes.size() : 0));
    for (const ArtifactHeader& header : sink.headers) CHECK(header.bytes == row.sizes.at(header.name));
  }
}

TEST_CASE("artifacts up to the limit of their number are sent, one more refuses all") {
  Limits limits;
  limits.artifacts = 10;
  for (const ArtifactRules& rules : {kTop, kNested}) {
    for (const int count : {10, 11, 50}) {
      CAPTURE(count);
      const ScratchDir dir;
      dir.make_dir("output");
      dir.make_dir("output/zfolder");
      for (int i = 0; i < count; ++i) dir.make_file(fmt::format("output/{}{}", rules.nested ? "zfolder/" : "", i), "x");
      Recorder sink;
      CHECK(collect(dir, rules, limits, sink).refused == (count > 10));
      CHECK(sink.files.size() == (count > 10 ? 0 : 10));
      CHECK(std::ranges::count(sink.headers, "too many files", &ArtifactHeader::skipped) == (count > 10 ? 11 : 0));
    }
  }
}

TEST_CASE("a sparse file counts with its length") {
  const ScratchDir dir;
  dir.make_dir("output");
  dir.make_sparse("output/terabyte", off_t{1} << 40);
  dir.make_file("output/small", "x");
  Recorder sink;
  CHECK(collect(dir, kTop, {}, sink).refused);
  CHECK(sink.skipped == std::map<std::string, std::string>{{"terabyte", "too large"}, {"small", "total too large"}});
  CHECK(sink.headers.back().bytes == Bytes{1} << 40);

  const ScratchDir small;
  small.make_dir("output");
  small.make_sparse("output/hole", 200'000);
  Recorder zeros;
  collect(small, kTop, {}, zeros);
  CHECK(zeros.files["hole"] == std::string(200'000, '\0'));
}

TEST_CASE("lengths that overflow a sum are above any limit") {
  const ScratchDir dir(test::Place::kMemory);  // tmpfs allows a file of almost 2^63 bytes
  dir.make_dir("output");
  for (const char* name : {"output/a", "output/b", "output/c"}) dir.make_sparse(name, (off_t{1} << 62) + ((off_t{1} << 62) - 4096));
  Limits limits;
  limits.artifacts_bytes = Bytes{1} << 63;
  Recorder sink;
  CHECK(collect(dir, kTop, limits, sink).refused);
}

TEST_CASE("100,000 entries cost a bounded list of bounded length") {
  const ScratchDir dir(test::Place::kMemory);
  dir.make_dir("output");
  for (int i = 0; i < 100'000; ++i) dir.make_file(fmt::format("output/{}", i), "x");
  Recorder files;
  CHECK(collect(dir, kTop, {}, files).refused);
  CHECK(files.headers.size() == kMaxSkipped);

  const ScratchDir links(test::Place::kMemory);
  links.make_dir("output");
  for (int i = 0; i < 100'000; ++i) links.make_link("x", fmt::format("output/{}", i));
  Recorder skipped;
  CHECK_FALSE(collect(links, kTop, {}, skipped).refused);
  CHECK(skipped.headers.size() == kMaxSkipped);
  CHECK(skipped.skipped["output"] == "too many entries");
}

TEST_CASE("no more entries are looked at than a job may have inodes") {
  Limits limits;
  limits.scratch_inodes = 20;
  for (const int links : {19, 20}) {
    CAPTURE(links);
    const ScratchDir dir;
    dir.make_dir("output");
    for (int i = 0; i < links; ++i) dir.make_link("x", fmt::format("output/{}", i));
    dir.make_dir("output/folder");
    Recorder sink;
    collect(dir, kNested, limits, sink);
    CHECK(sink.skipped.contains("output") == (links == 20));
    CHECK(sink.headers.size() >= 19);
    CHECK(sink.headers.size() <= 21);
  }
}

TEST_CASE("folders are entered down to a depth, paths returned up to a length") {
  for (const int levels : {63, 64, 10'000}) {  // folders below the first one
    CAPTURE(levels);
    const ScratchDir dir(test::Place::kMemory);
    dir.make_dir("output");
    dir.make_chain("output/d", levels, "leaf");
    Recorder sink;
    CHECK_FALSE(collect(dir, kNested, {}, sink).refused);
    CHECK(sink.files.size() == (levels < 64 ? 1 : 0));
    if (levels >= 64) {
      REQUIRE(sink.skipped.size() == 1);
      CHECK(sink.skipped.begin()->second == "too deep");
      CHECK(sink.skipped.begin()->first.size() == 65 * 2 - 1);
    }
  }
  // 16 folders of 255 bytes and their slashes are 4,096 bytes: nothing fits below.
  const ScratchDir dir;
  dir.make_dir("output");
  std::string path = "output";
  for (int i = 0; i < 15; ++i) dir.make_dir(path += "/" + std::string(255, static_cast<char>('a' + i)));
  UniqueFd last(::openat(dir.fd(), path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(last.valid());
  for (const std::string& name : {std::string(255, 'p'), std::string(255, 'q')})
    REQUIRE(::mkdirat(last.get(), name.c_str(), 0700) == 0);
  UniqueFd below(::openat(last.get(), std::string(255, 'p').c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(UniqueFd(::openat(below.get(), "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).valid());
  REQUIRE(UniqueFd(::openat(last.get(), std::string(200, 'f').c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).valid());
  Recorder sink;
  collect(dir, kNested, {}, sink);
  REQUIRE(sink.files.size() == 1);
  CHECK(sink.files.begin()->first.size() == 15 * 256 + 200);
  REQUIRE(sink.skipped.size() == 1);
  CHECK(sink.skipped.begin()->second == "path too long");
  CHECK(sink.skipped.begin()->first.size() == kMaxArtifactPath);
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
