// Role: from the reason a worker gives, and the settings of a machine that a folder plays, to the cause and its cure.
#include "supervisor/layer_cures.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace coderunner {
namespace {

// A /proc of files.
class PlayedProc {
 public:
  PlayedProc() { CHECK(::mkdtemp(path_.data()) != nullptr); }
  ~PlayedProc() { std::filesystem::remove_all(path_); }
  PlayedProc(const PlayedProc&) = delete;
  PlayedProc& operator=(const PlayedProc&) = delete;

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] MachineFacts facts() const { return {path_}; }

 private:
  std::string path_ = "/tmp/layer-cures-test-XXXXXX";
};

TEST_CASE("missing namespaces: the setting that denies them, by its name and value, and what to do") {
  const struct {
    std::string what, file, text, means, found, cure;
  } rows[] = {
      {"no quota", "sys/user/max_user_namespaces", "0\n", "unshare(user): ENOSPC",
       "user namespaces: denied by user.max_user_namespaces=0", "sysctl -w user.max_user_namespaces=15000"},
      {"Debian's switch", "sys/kernel/unprivileged_userns_clone", "0\n", "unshare(user): EPERM",
       "user namespaces: denied by kernel.unprivileged_userns_clone=0", "sysctl -w kernel.unprivileged_userns_clone=1"},
      {"Ubuntu's rule", "sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "write uid_map: EACCES",
       "user namespaces: denied by kernel.apparmor_restrict_unprivileged_userns=1", "load scripts/apparmor-profile"},
      {"a switch that allows", "sys/kernel/unprivileged_userns_clone", "1\n", "unshare(user): EPERM", "", ""},
      {"a quota that is not 0", "sys/user/max_user_namespaces", "15000\n", "unshare(user): ENOSPC", "", ""},
      {"a container's filter", "self/status", "Name:\tx\nSeccomp:\t2\n", "unshare(user): EPERM",
       "refused by the system-call filter that the service was started under: unshare(user): EPERM",
       "start the container with --security-opt seccomp=unconfined"},
      {"no filter", "self/status", "Name:\tx\nSeccomp:\t0\n", "unshare(user): EPERM", "", ""},
      {"a container that hides parts of /proc", "self/status", "Seccomp:\t0\n", "mount(proc): EPERM",
       "parts of /proc are hidden, as containers do, so a job can have none of its own: mount(proc): EPERM",
       "start the container with --security-opt systempaths=unconfined"},
      {"asked for", "sys/user/max_user_namespaces", "0\n", "switched off by --sandbox=reduced", "",
       "leave --sandbox=reduced out"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const PlayedProc proc;
    proc.write(row.file, row.text);
    LayerReport layer{"namespaces", LayerStatus::kMissing, row.means, "", "", ""};
    explain_layer(layer, proc.facts());
    CHECK(layer.found == row.found);
    CHECK(layer.cure == row.cure);
  }
}

TEST_CASE("a layer that is there needs no cure, except memory without a cgroup") {
  const PlayedProc proc;
  proc.write("sys/user/max_user_namespaces", "0\n");
  LayerReport namespaces{"namespaces", LayerStatus::kHolds, "user, pid", "", "", ""};
  explain_layer(namespaces, proc.facts());
  CHECK(namespaces.cure.empty());
  LayerReport counted{"memory", LayerStatus::kInForce, "memory: cgroup v2", "", "", ""};
  explain_layer(counted, proc.facts());
  CHECK(counted.cure.empty());
  LayerReport watched{"memory", LayerStatus::kInForce, "watched from outside", "", "", ""};
  explain_layer(watched, proc.facts());
  CHECK(watched.cure.find("Delegate=yes") != std::string::npos);
}

}  // namespace
}  // namespace coderunner
