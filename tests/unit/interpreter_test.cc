// Role: the machine's own Python is found and described; what is no usable Python is refused with the reason.
#include "supervisor/interpreter.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace coderunner {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

bool has(const Strings& paths, const std::string& path) { return std::ranges::find(paths, path) != paths.end(); }

// A directory with programs that pretend to be an interpreter.
class Place {
 public:
  Place() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Place() { fs::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  std::string program(const std::string& name, const std::string& body) const {
    const std::string path = path_ + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
    return path;
  }

 private:
  std::string path_ = "/tmp/coderunner-python-test-XXXXXX";
};

TEST_CASE("the system's Python is found, with what it needs to see and nothing wholesale") {
  const auto found = find_interpreter({.python = "", .search = "", .packages = "", .beside = "/usr"});
  REQUIRE_MESSAGE(found.has_value(), found.error().message);
  CHECK(found->path.starts_with("/"));
  CHECK(found->version.starts_with("3."));
  CHECK(found->packages.empty());
  CHECK(has(found->read_only_paths, "/usr"));
  for (const char* const hidden : {"/", "/home", "/root", "/etc", "/tmp", "/var", "/etc/passwd", "/etc/hosts",
                                   "/etc/resolv.conf", "/etc/shadow"}) {
    CAPTURE(hidden);
    CHECK_FALSE(has(found->read_only_paths, hidden));
  }
  CHECK(std::ranges::is_sorted(found->read_only_paths));
  for (const std::string& path : found->read_only_paths) {
    CAPTURE(path);
    CHECK(fs::exists(fs::symlink_status(path)));
    for (const std::string& other : found->read_only_paths) CHECK_FALSE(path.starts_with(other + "/"));
  }
}

TEST_CASE("an interpreter says its version, its prefixes and the libraries that it maps") {
  const auto facts = ask_interpreter("/usr/bin/python3");
  REQUIRE_MESSAGE(facts.has_value(), facts.error().message);
  CHECK(facts->executable.starts_with("/usr/bin/python3"));
  CHECK(fs::exists(facts->real_executable));
  CHECK(has(facts->prefixes, "/usr"));
  CHECK_FALSE(facts->search_path.empty());
  const auto is_libc = [](const std::string& path) { return path.find("libc.so") != path.npos; };
  CHECK(std::ranges::any_of(facts->libraries, is_libc));
}

TEST_CASE("bootstrap.py comes compiled, into what an interpreter imports without a look at the source") {
  const Place place;
  // Not the byte code that this was built with: it compiles by itself.
  const std::string other = place.program("other", R"(exec /usr/bin/python3 "$1" "$2" "$3" "$4" 00000000)");
  for (const std::string& python : {std::string("/usr/bin/python3"), other}) {
    CAPTURE(python);
    const auto facts = ask_interpreter(python);
    REQUIRE_MESSAGE(facts.has_value(), facts.error().message);
    const Place modules;
    fs::create_directory(modules.path() + "/__pycache__");
    std::ofstream(modules.path() + "/sitecustomize.py") << "another text\n";
    std::ofstream(modules.path() + "/__pycache__/" + facts->bootstrap_name) << facts->bootstrap_code;
    const auto look = [&](const char* names) {
      return std::system(fmt::format(
          "/usr/bin/python3 -I -c 'from importlib.machinery import PathFinder; "
          "code = PathFinder.find_spec(\"sitecustomize\", [\"{}\"]).loader.get_code(\"sitecustomize\"); "
          "exit(not set(code.co_names) >= {{\"{}\"}})'", modules.path(), names).c_str());
    };
    CHECK(look("park") == 0);
    CHECK(look("parks") != 0);
  }
}

TEST_CASE("what is no usable Python is refused with the reason") {
  const Place place;
  struct Row {
    std::string python, says;
  };
  const std::string answer = R"(printf 'version\0%s\0executable\0/usr/bin/python3\0' )";
  const Row rows[] = {
      {place.path() + "/python3", "ENOENT"},
      {"/etc/passwd", "EACCES"},
      {"/bin/true", "does not say its version"},
      {"/bin/false", "exit status 1"},
      {place.program("echo", "echo hello"), "something else than asked"},
      {place.program("killed", "kill -9 $$"), "signal 9"},
      {place.program("relative", R"(printf 'version\0003.11.2\0executable\0python3\0')"), "does not say its version"},
      {place.program("two", answer + "2.7.18"), "Python 2.7.18: 3.8 or newer is needed"},
      {place.program("old", answer + "3.7.3"), "Python 3.7.3: 3.8 or newer is needed"},
      {place.program("four", answer + "4.0.0"), "Python 4.0.0"},
      {place.program("long", "head -c 2000000 /dev/zero"), "too long"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.python);
    const auto found = find_interpreter({.python = row.python, .search = "", .packages = "", .beside = ""});
    REQUIRE_FALSE(found.has_value());
    CHECK_MESSAGE(found.error().message.find(row.says) != std::string::npos, found.error().message);
    CHECK(found.error().message.find(row.python) != std::string::npos);
  }
}

TEST_CASE("versions from 3.8 on are accepted, newer ones than are tried with a note") {
  const Place place;
  struct Row {
    const char* version;
    bool note;
  };
  for (const Row row : {Row{"3.8.0", false}, Row{"3.13.9", false}, Row{"3.14.0", true}, Row{"3.100.0", true}}) {
    CAPTURE(row.version);
    const std::string body = fmt::format(R"(printf 'version\0%s\0executable\0/usr/bin/python3\0' {})", row.version);
    const auto found = find_interpreter(
        {.python = place.program("python", body), .search = "", .packages = "", .beside = ""});
    REQUIRE_MESSAGE(found.has_value(), found.error().message);
    CHECK(found->version == row.version);
    CHECK(found->note.empty() != row.note);
  }
}

TEST_CASE("a prefix of its own is shown, somebody's home only in parts, and links with what they stand for") {
  const Place place;
  const std::string python = place.path() + "/python", lib = python + "/lib";
  fs::create_directories(lib);
  fs::create_directory_symlink(python, place.path() + "/link");
  InterpreterFacts facts;
  facts.prefixes = {python,  place.path() + "/link", python + "/", "/",
                    "/root", "/home/someone",        "relative",   place.path() + "/missing"};
  facts.search_path = {lib, "/home"};
  facts.libraries = {lib + "/libx.so"};
  const Strings paths = derive_read_only_paths(facts, NetworkMode::kNone);
  CHECK(has(paths, python));
  CHECK(has(paths, place.path() + "/link"));
  CHECK_FALSE(has(paths, lib));  // below the prefix
  for (const char* const hidden : {"/", "/root", "/home", "/home/someone", "relative"}) {
    CHECK_FALSE(has(paths, hidden));
  }
  CHECK_FALSE(has(paths, place.path() + "/missing"));
}

TEST_CASE("what finds names on the network is shown where scripts may use it, and nowhere else") {
  for (const char* const file : {"/etc/hosts", "/etc/resolv.conf"}) {
    CAPTURE(file);
    CHECK_FALSE(has(derive_read_only_paths({}, NetworkMode::kNone), file));
    CHECK(has(derive_read_only_paths({}, NetworkMode::kHost), file) == fs::exists(file));
  }
}

TEST_CASE("an interpreter beside the program comes before the system's, and a named one before both") {
  const Place place;
  fs::create_directories(place.path() + "/python/bin");
  const std::string answer = R"(printf 'version\0%s\0executable\0/usr/bin/python3\0' )";
  const std::string own = place.program("python/bin/python3", answer + "3.9.1");
  const std::string named = place.program("named", answer + "3.10.1");
  const auto version = [&](const std::string& python) {
    const auto found = find_interpreter({.python = python, .search = "", .packages = "", .beside = place.path()});
    REQUIRE(found.has_value());
    return found->version;
  };
  CHECK(version("") == "3.9.1");
  CHECK(version(named) == "3.10.1");
  fs::remove(own);
  CHECK(version("") != "3.9.1");
}

TEST_CASE("a packages folder is found beside the program, or named, and shown") {
  const Place place;
  const std::string folder = place.path() + "/.python_packages/lib/site-packages";
  fs::create_directories(folder);
  const auto beside = find_interpreter({.python = "", .search = "", .packages = "", .beside = place.path()});
  REQUIRE(beside.has_value());
  CHECK(beside->packages == folder);
  CHECK(has(beside->read_only_paths, folder));
  const auto named = find_interpreter({.python = "", .search = "", .packages = folder, .beside = ""});
  REQUIRE(named.has_value());
  CHECK(named->packages == folder);
  const auto missing = find_interpreter({.python = "", .search = "", .packages = folder + "-not", .beside = ""});
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().message.find("--packages: " + folder + "-not is not") != std::string::npos);
}

}  // namespace
}  // namespace coderunner
