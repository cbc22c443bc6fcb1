// Role: both cgroup protocols, against a directory in which the test plays the kernel.
#include "supervisor/cgroup_tree.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "common/sys.h"
#include "supervisor/cgroup_mounts.h"

namespace coderunner {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

void write(const std::string& path, std::string_view text) { std::ofstream(path) << text; }
std::string read(const std::string& path) { return sys::read_file(path).value_or("(missing)"); }

// A directory that plays cgroupfs: a group is made with its control files and goes with them, unless it has members.
class PlayedKernel {
 public:
  PlayedKernel() {
    REQUIRE(::mkdtemp(root_.data()) != nullptr);
    world.mountinfo = root_ + "/mountinfo";
    world.membership = root_ + "/membership";
    world.pid = 4711;
    world.lives = [](pid_t pid) { return pid == 100; };
    world.make_directory = [this](const std::string& path) -> Result<void> {
      if (refuse_with != nullptr && path.find(refuse_below) != path.npos) {
        return fail(Fault::kInternal, fmt::format("mkdir(\"{}\"): {}", path, refuse_with));
      }
      TRY(sys::retry("mkdir", [&] { return ::mkdir(path.c_str(), 0755); }));
      fill(path);
      return {};
    };
    world.remove_directory = [](const std::string& path) -> Result<void> {
      for (const auto& entry : fs::directory_iterator(path)) {
        if (entry.is_directory()) return fail(Fault::kInternal, "EBUSY");
      }
      fs::remove_all(path);
      return {};
    };
  }
  ~PlayedKernel() { fs::remove_all(root_); }

  // A v1 hierarchy at <root>/<name>, with this process in `group`.
  void mount_v1(const std::string& controllers, const std::string& group, const std::string& mount_root = "/") {
    mountinfo_ += fmt::format("31 23 0:28 {} {}/{} rw,relatime shared:9 - cgroup cgroup rw,{}\n", mount_root, root_,
                              controllers, controllers);
    membership_ += fmt::format("{}:{}:{}\n", ++number_, controllers, group);
    publish();
  }
  void mount_v2(const std::string& group, const std::string& controllers) {
    mountinfo_ += fmt::format("41 31 0:38 / {}/unified rw,relatime - cgroup2 cgroup2 rw\n", root_);
    membership_ += fmt::format("0::{}\n", group);
    publish();
    const std::string own = make_own("/unified" + group);
    write(own + "/cgroup.controllers", controllers + "\n");
  }
  std::string make_own(const std::string& below) {
    const std::string own = root_ + below;
    fs::create_directories(own);
    fill(own);
    return own;
  }
  [[nodiscard]] std::string at(const std::string& below) const { return root_ + below; }

  CgroupWorld world;
  const char* refuse_with = nullptr;  // an errno for directories whose path has refuse_below in it
  std::string refuse_below;

 private:
  void fill(const std::string& group) const {
    for (const char* const file : {"cgroup.procs", "cgroup.subtree_control", "memory.max", "pids.max"}) {
      write(group + "/" + file, "");
    }
    write(group + "/memory.current", "0\n");
    fs::permissions(group + "/memory.current", fs::perms::owner_read);
  }
  void publish() const {
    write(world.mountinfo, "23 1 0:20 / / rw - ext4 /dev/vda rw\n" + mountinfo_);
    write(world.membership, membership_);
  }

  std::string root_ = "/tmp/coderunner-cgroup-test-XXXXXX";
  std::string mountinfo_, membership_;
  int number_ = 0;
};

// Root gives the files away, everybody else keeps them.
Account account() {
  if (::geteuid() == 0) return {"other", 54321, 54321};
  return {"self", ::geteuid(), ::getegid()};
}

uid_t owner(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_uid : static_cast<uid_t>(-1);
}

TEST_CASE("v1: each worker gets a directory in the memory and in the pids hierarchy, below the service's own group") {
  PlayedKernel kernel;
  kernel.mount_v1("memory", "/system.slice/x");
  kernel.mount_v1("cpu,pids", "/");
  kernel.make_own("/memory/system.slice/x");
  kernel.make_own("/cpu,pids");
  const CgroupTree tree = make_cgroup_tree(kernel.world, 2, account());
  const std::string memory = kernel.at("/memory/system.slice/x/coderunner-4711");
  const std::string pids = kernel.at("/cpu,pids/coderunner-4711");
  CHECK(tree.worker_dirs == std::vector<Strings>{{memory + "/w0", pids + "/w0"}, {memory + "/w1", pids + "/w1"}});
  CHECK(tree.notes.empty());
  CHECK(owner(memory + "/w1") == account().uid);
  CHECK(owner(memory + "/w1/cgroup.procs") == account().uid);
  CHECK(owner(memory + "/w1/memory.max") == account().uid);
  CHECK(owner(memory + "/w1/memory.current") == ::geteuid());  // nobody may write it
  CHECK(owner(memory) == ::geteuid());

  CHECK(remove_cgroup_tree(kernel.world, tree));
  CHECK_FALSE(fs::exists(memory));
  CHECK_FALSE(fs::exists(pids));
  CHECK(remove_cgroup_tree(kernel.world, tree));  // again: nothing is left to do
}

TEST_CASE("v1: controllers mounted together share a directory") {
  PlayedKernel kernel;
  kernel.mount_v1("memory,pids", "/");
  kernel.make_own("/memory,pids");
  const CgroupTree tree = make_cgroup_tree(kernel.world, 1, account());
  CHECK(tree.worker_dirs == std::vector<Strings>{{kernel.at("/memory,pids/coderunner-4711/w0")}});
}

TEST_CASE("v2: the service moves into a leaf, hands the controllers down and makes leaves for the workers") {
  PlayedKernel kernel;
  kernel.mount_v2("/own", "cpu memory pids");
  const CgroupTree tree = make_cgroup_tree(kernel.world, 2, account());
  const std::string own = kernel.at("/unified/own"), base = own + "/coderunner-4711";
  CHECK(tree.worker_dirs == std::vector<Strings>{{base + "/w0"}, {base + "/w1"}});
  CHECK(tree.notes.empty());
  CHECK(read(base + "/supervisor/cgroup.procs") == "0");
  CHECK(read(own + "/cgroup.subtree_control") == "+memory +pids");
  CHECK(read(base + "/cgroup.subtree_control") == "+memory +pids");
  CHECK(owner(base + "/cgroup.procs") == account().uid);  // the common ancestor of where a worker is born and lives
  CHECK(owner(base + "/w0/cgroup.procs") == account().uid);
  CHECK(owner(base + "/supervisor/cgroup.procs") == ::geteuid());

  write(base + "/supervisor/cgroup.procs", "4711\n");
  CHECK(remove_cgroup_tree(kernel.world, tree));
  CHECK(read(own + "/cgroup.procs") == "4711");
  CHECK(read(own + "/cgroup.subtree_control") == "-memory -pids ");
  CHECK_FALSE(fs::exists(base));
}

TEST_CASE("v2 beside v1: a controller is taken from v1 where it is mounted there") {
  PlayedKernel kernel;
  kernel.mount_v1("memory", "/");
  kernel.make_own("/memory");
  kernel.mount_v2("/", "cpu pids");
  const CgroupTree tree = make_cgroup_tree(kernel.world, 1, account());
  CHECK(tree.worker_dirs ==
        std::vector<Strings>{{kernel.at("/memory/coderunner-4711/w0"), kernel.at("/unified/coderunner-4711/w0")}});
  CHECK(read(kernel.at("/unified/cgroup.subtree_control")) == "+pids");
}

TEST_CASE("what can not be made is a note with its cure, and what was made of it goes again") {
  PlayedKernel kernel;
  kernel.mount_v1("memory", "/");
  kernel.make_own("/memory");
  kernel.mount_v2("/", "pids");
  struct Row {
    const char *below, *says;
    std::size_t dirs;
  };
  const Row rows[] = {
      {"/memory/coderunner", "cgroup: memory: mkdir(", 1},
      {"/memory/coderunner-4711/w1", "cgroup: memory: mkdir(", 1},
      {"/unified/coderunner-4711/w1", "cgroup: pids: mkdir(", 1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.below);
    kernel.refuse_with = "EROFS";
    kernel.refuse_below = row.below;
    const CgroupTree tree = make_cgroup_tree(kernel.world, 2, account());
    REQUIRE(tree.notes.size() == 1);
    CHECK(tree.notes[0].starts_with(row.says));
    CHECK(tree.notes[0].find("EROFS") != std::string::npos);
    CHECK(tree.notes[0].find("Delegate=yes") != std::string::npos);
    REQUIRE(tree.worker_dirs.size() == 2);
    CHECK(tree.worker_dirs[1].size() == row.dirs);
    const std::string refused = std::string(row.below).substr(0, std::string(row.below).find('/', 1));
    CHECK_FALSE(fs::exists(kernel.at(refused + "/coderunner-4711")));
    CHECK(remove_cgroup_tree(kernel.world, tree));
  }
  CHECK(read(kernel.at("/unified/cgroup.subtree_control")) == "-pids ");
}

TEST_CASE("without hierarchies or controllers there are no directories, and the notes say why") {
  PlayedKernel none;
  none.mount_v1("cpu", "/");
  const CgroupTree nothing = make_cgroup_tree(none.world, 2, account());
  CHECK(nothing.worker_dirs.empty());
  CHECK(nothing.notes == Strings{"cgroup: memory, pids: no hierarchy is mounted"});

  PlayedKernel bare;
  bare.mount_v2("/", "");
  const CgroupTree without = make_cgroup_tree(bare.world, 2, account());
  CHECK(without.worker_dirs.empty());
  REQUIRE(without.notes.size() == 2);
  CHECK(without.notes[0].starts_with("cgroup: memory: not in "));
  CHECK(without.made.empty());

  CgroupWorld nowhere = bare.world;
  nowhere.mountinfo = "/dev/null/none";
  CHECK(make_cgroup_tree(nowhere, 1, account()).notes.size() == 1);
}

TEST_CASE("groups of services that are dead go at the start, those of living ones and strangers stay") {
  PlayedKernel kernel;
  kernel.mount_v1("memory,pids", "/");
  const std::string own = kernel.make_own("/memory,pids");
  for (const char* const name : {"coderunner-99", "coderunner-99/w0", "coderunner-100", "coderunner-x", "other-99"}) {
    fs::create_directories(own + "/" + name);
  }
  make_cgroup_tree(kernel.world, 1, account());
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(own)) {
    if (entry.is_directory()) left.insert(entry.path().filename());
  }
  CHECK(left == std::set<std::string>{"coderunner-100", "coderunner-4711", "coderunner-x", "other-99"});
}

TEST_CASE("a group that a worker made below its own goes too") {
  PlayedKernel kernel;
  kernel.mount_v1("memory,pids", "/");
  kernel.make_own("/memory,pids");
  const CgroupTree tree = make_cgroup_tree(kernel.world, 1, account());
  fs::create_directories(tree.worker_dirs[0][0] + "/job/deeper");
  CHECK(remove_cgroup_tree(kernel.world, tree));
  CHECK_FALSE(fs::exists(kernel.at("/memory,pids/coderunner-4711")));
}

TEST_CASE("the own group is found in every kind of container") {
  struct Row {
    const char *mountinfo, *membership, *controller, *group;
  };
  const Row rows[] = {
      {"1 1 0:1 / /cg/memory rw - cgroup cgroup rw,memory\n", "4:memory:/a/b\n", "memory", "/cg/memory/a/b"},
      {"1 1 0:1 / /cg/memory rw - cgroup cgroup rw,memory\n", "4:memory:/\n", "memory", "/cg/memory"},
      // docker on v1 without a cgroup namespace: the mount shows the container's group
      {"1 1 0:1 /docker/1 /cg/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/1/x\n", "memory",
       "/cg/memory/x"},
      {"1 1 0:1 /docker/1 /cg/memory ro - cgroup cgroup rw,memory\n", "4:memory:/else\n", "memory", "/cg/memory"},
      // with one, seen from outside of its root
      {"1 1 0:1 / /cg rw - cgroup2 cgroup rw\n", "0::/../other\n", "", "/cg"},
      {"1 1 0:1 / /c\\040g rw master:1 - cgroup2 cgroup rw,nsdelegate\n", "0::/a\n", "", "/c g/a"},
      {"1 1 0:1 / /cg rw - cgroup cgroup rw,name=memory\n", "4:name=memory:/\n", "memory", nullptr},
      {"1 1 0:1 / /cg rw - cgroup cgroup rw,memory\n", "0::/\n", "memory", nullptr},
      {"", "", "", nullptr},
      {"- - \n:::\n", ":\n\n::", "memory", nullptr},
  };
  for (const Row& row : rows) {
    CAPTURE(row.mountinfo);
    const auto group = own_group(row.mountinfo, row.membership, row.controller);
    CHECK(group == (row.group != nullptr ? std::optional<std::string>(row.group) : std::nullopt));
  }
}

}  // namespace
}  // namespace coderunner
