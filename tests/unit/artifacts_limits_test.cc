// Role: tests of the bounds in worker/artifacts.h: bytes, number, entries, depth, lengths.
#include "worker/artifacts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "tests/support/artifact_recorder.h"

namespace coderunner {
namespace {

using test::collect;
using test::kNested;
using test::kTop;
using test::Recorder;
using test::ScratchDir;

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
  constexpr off_t kLongest = std::numeric_limits<off_t>::max() - 4095;
  for (const char* name : {"output/a", "output/b", "output/c"}) dir.make_sparse(name, kLongest);
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

}  // namespace
}  // namespace coderunner
