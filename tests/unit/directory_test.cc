// Role: tests of common/directory.h.
#include "common/directory.h"

#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "tests/support/forked.h"
#include "tests/support/scratch_dir.h"

namespace coderunner {
namespace {

using test::ScratchDir;

std::set<std::string> list(int directory) {
  std::set<std::string> names;
  DirectoryReader reader(directory);
  REQUIRE(reader.rewind());
  for (auto entry = reader.next(); entry && *entry; entry = reader.next()) names.emplace((*entry)->name);
  return names;
}

TEST_CASE("a directory is read whole, whatever its names and however often") {
  const ScratchDir dir;
  std::set<std::string> expected;
  for (const std::string& name : test::kHostileNames) expected.insert(name);
  for (int i = 0; i < 2000; ++i) expected.insert("a name that fills more than one buffer " + std::to_string(i));
  CHECK(list(dir.fd()).empty());
  for (const std::string& name : expected) dir.make_file(name, "");
  CHECK(list(dir.fd()) == expected);
  CHECK(list(dir.fd()) == expected);
}

TEST_CASE("a removed directory reads as empty") {
  const ScratchDir dir;
  dir.make_dir("gone");
  const auto opened = open_directory(dir.fd(), "gone");
  REQUIRE(opened);
  REQUIRE(*opened);
  REQUIRE(::unlinkat(dir.fd(), "gone", AT_REMOVEDIR) == 0);
  CHECK(list((*opened)->get()).empty());
}

TEST_CASE("only a directory opens as one, and nothing is followed") {
  const ScratchDir dir;
  dir.make_dir("folder");
  dir.make_file("file", "");
  dir.make_fifo("fifo");
  dir.make_link("folder", "link");
  for (const auto open : {open_directory, reclaim_directory}) {
    for (const char* name : {"file", "fifo", "link", "missing"}) {
      CAPTURE(name);
      const auto opened = open(dir.fd(), name);
      REQUIRE(opened);
      CHECK_FALSE(*opened);
    }
    const auto folder = open(dir.fd(), "folder");
    REQUIRE(folder);
    CHECK(*folder);
  }
}

TEST_CASE("a directory without permissions opens only by reclaiming it") {
  CHECK(test::as_plain_user([]() -> std::string {
          const ScratchDir dir;
          dir.make_dir("locked", 0000);
          if (open_directory(dir.fd(), "locked")) return "opened without permission";
          const auto opened = reclaim_directory(dir.fd(), "locked");
          if (!opened || !*opened) return "not reclaimed";
          return (dir.mode("locked") & 0777) == 0700 ? "" : "not rwx for its owner";
        }) == "");
}

TEST_CASE("a name in a message is one line of printable ASCII") {
  CHECK(quoted_name("a.csv") == "\"a.csv\"");
  CHECK(quoted_name("a\n\"\\\xff") == "\"a\\x0a\\x22\\x5c\\xff\"");
  CHECK(quoted_name(std::string(80, 'x')) == "\"" + std::string(80, 'x') + "\"");
  CHECK(quoted_name(std::string(81, 'x')) == "\"" + std::string(80, 'x') + "\"...");
}

TEST_CASE("an entry is looked at itself, not what it points to") {
  const ScratchDir dir;
  dir.make_dir("folder");
  dir.make_link("folder", "link");
  const auto link = stat_entry(dir.fd(), "link");
  REQUIRE(link);
  REQUIRE(*link);
  CHECK(S_ISLNK((*link)->st_mode));
  const auto missing = stat_entry(dir.fd(), "missing");
  REQUIRE(missing);
  CHECK_FALSE(*missing);
}

}  // namespace
}  // namespace coderunner
