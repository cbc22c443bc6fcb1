// Role: main() of every unit test: runs the cases, then looks for what they have left behind.
// Callers: meson test.
// Law: a suite ends with the open descriptors and child processes that it began with.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;

// "3 -> /dev/pts/0" of each. The descriptor that reads the listing is in it, but closed by the time it is looked up.
std::set<std::string> list_descriptors() {
  std::set<std::string> all;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const fs::path target = fs::read_symlink(entry.path(), error);
    if (!error && target != fs::path(fmt::format("/proc/{}/fd", ::getpid()))) {
      all.insert(fmt::format("descriptor {} -> {}", entry.path().filename().string(), target.string()));
    }
  }
  return all;
}

// By the parent's pid in every /proc/PID/stat: the fourth field, the second after the name's last ')' (proc(5)).
std::set<std::string> list_children() {
  std::set<std::string> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::string stat;
    if (!std::getline(std::ifstream(entry.path() / "stat"), stat)) continue;  // no process, or gone by now
    const auto name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    int parent = 0;
    if (std::sscanf(stat.c_str() + name_end + 1, " %*c %d", &parent) == 1 && parent == ::getpid()) {
      all.insert("child process " + stat.substr(0, name_end + 1));
    }
  }
  return all;
}

// Prints what is in `after` and was not in `before`; true when nothing was.
bool report_new(const std::set<std::string>& before, const std::set<std::string>& after) {
  bool same = before.size() == after.size();
  for (const std::string& item : after) {
    if (before.contains(item)) continue;
    same = false;
    fmt::print(stderr, "left behind: {}\n", item);
  }
  if (before.size() > after.size())
    fmt::print(stderr, "{} at the beginning, {} at the end\n", before.size(), after.size());
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  const auto descriptors = list_descriptors();
  const auto children = list_children();
  doctest::Context context(argc, argv);
  const int result = context.run();
  if (context.shouldExit()) return result;
  const bool clean = report_new(descriptors, list_descriptors()) & report_new(children, list_children());
  return result != 0 ? result : clean ? 0 : 1;
}
