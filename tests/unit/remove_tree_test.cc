// Role: whatever a job leaves is removed, and nothing else.
#include "supervisor/remove_tree.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/unique_fd.h"
#include "tests/support/forked.h"

namespace coderunner {
namespace {

namespace fs = std::filesystem;

std::string make_place() {
  std::string path = "/tmp/coderunner-tree-test-XXXXXX";
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  return path;
}

// As a user whose permissions count: root passes over them.
std::string remove_hostile_tree() {
  std::string top = "/tmp/coderunner-tree-test-XXXXXX";
  if (::mkdtemp(top.data()) == nullptr) return "mkdtemp";
  const std::string outside = top + "-outside";
  fs::create_directory(outside);
  std::ofstream(outside + "/kept") << "kept";

  const std::string tree = top + "/tree";
  fs::create_directories(tree + "/a/b/c");
  fs::create_directories(tree + "/.removing-0");  // the names that the removal itself uses
  std::ofstream(tree + "/.removing-1") << "x";
  std::ofstream(tree + "/a/b/file") << "x";
  fs::create_symlink(outside, tree + "/a/link");
  fs::create_symlink("loop", tree + "/loop");
  ::mkfifo((tree + "/fifo").c_str(), 0);
  for (const char* const name : {"/a/b/c", "/a/b", "/a", "/.removing-0"}) ::chmod((tree + name).c_str(), 0);
  ::chmod(tree.c_str(), 0500);

  const auto removed = remove_tree(tree);
  if (!removed) return removed.error().message;
  if (fs::exists(tree)) return "the tree is still there";
  if (!fs::exists(outside + "/kept")) return "a link was followed";
  fs::remove_all(outside);
  fs::remove_all(top);
  return {};
}

TEST_CASE("a tree without permissions, with links, pipes and awkward names goes, and links are not followed") {
  CHECK(test::as_plain_user(remove_hostile_tree) == "");
}

TEST_CASE("a tree deeper than any path may be goes") {
  const std::string top = make_place();
  UniqueFd at(::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int depth = 0; depth < 3000; ++depth) {  // 6,000 bytes of path; PATH_MAX is 4,096
    REQUIRE(::mkdirat(at.get(), "d", 0700) == 0);
    at.reset(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(at.valid());
  }
  at.reset();
  CHECK(remove_tree(top).has_value());
  CHECK_FALSE(fs::exists(top));
}

TEST_CASE("what is not there is removed already; what is no directory, or a link to one, is refused") {
  const std::string top = make_place();
  CHECK(remove_tree(top + "/missing").has_value());
  std::ofstream(top + "/file") << "x";
  CHECK_FALSE(remove_tree(top + "/file").has_value());
  fs::create_directory(top + "/target");
  fs::create_symlink("target", top + "/link");
  CHECK_FALSE(remove_tree(top + "/link").has_value());
  CHECK(fs::exists(top + "/target"));
  CHECK(remove_tree(top).has_value());
}

}  // namespace
}  // namespace coderunner
