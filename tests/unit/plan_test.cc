// Role: the shape of a jail at either level, as data; the words a parked interpreter is given.
#include "worker/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "worker/runner.h"

namespace coderunner {
namespace {

using namespace std::string_literals;

WorkerSetup make_setup() {
  WorkerSetup setup;
  setup.cores = 5;
  setup.index = 3;
  setup.python = "/opt/python/bin/python3";
  setup.read_only_paths = {"/usr", "/lib", "/opt/python"};
  setup.temp_dir = "/tmp/coderunner-x";
  setup.packages = "/srv/site:packages";
  setup.preload = {"json", "re"};
  setup.preload_packages = {"numpy?", "torch"};
  return setup;
}

std::string variable(const std::vector<std::string>& environment, const std::string& name) {
  for (const std::string& entry : environment)
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  return "absent";
}

TEST_CASE("the full level's tree holds what is listed, links as links, and nothing twice") {
  const JailPlan plan = make_plan(make_setup(), SandboxLevel::kFull, {}, {{"/lib", "usr/lib"}});
  std::set<std::string> targets;
  for (const MountRow& row : plan.root) {
    CAPTURE(row.target);
    CHECK(row.target.starts_with('/'));
    CHECK(targets.insert(row.target).second);
    CHECK_FALSE(row.why.empty());
    if (row.target == "/usr") CHECK(row.kind == MountKind::kReadOnlyBind);
    if (row.target == "/lib") CHECK(row.kind == MountKind::kSymlink);
    if (row.target == "/lib") CHECK(row.source == "usr/lib");
  }
  for (const char* target : {"/usr", "/opt/python", "/dev/null", "/etc/passwd", "/proc"})
    CHECK(targets.contains(target));
  for (const char* target : {"/", "/home", "/root", "/etc", "/sys", "/dev"}) CHECK_FALSE(targets.contains(target));
  for (const ScratchRow& row : plan.scratch) CHECK(targets.contains(row.target));  // there is something to mount on
}

TEST_CASE("bootstrap.py is there compiled, where the interpreter has compiled it") {
  const auto compiled = [](const WorkerSetup& setup) {
    const JailPlan plan = make_plan(setup, SandboxLevel::kFull, {}, {});
    const auto row = std::ranges::find_if(plan.root, [](const MountRow& each) {
      return each.target.ends_with(".pyc");
    });
    return row == plan.root.end() ? "none" : row->target + " " + row->source;
  };
  WorkerSetup setup = make_setup();
  CHECK(compiled(setup) == "none");
  setup.bootstrap_name = "sitecustomize.cpython-311.pyc";
  setup.bootstrap_code = "code";
  CHECK(compiled(setup) == "/.coderunner/__pycache__/sitecustomize.cpython-311.pyc code");
}

TEST_CASE("the environment is the contract's, and what bootstrap.py takes away again") {
  for (const SandboxLevel level : {SandboxLevel::kFull, SandboxLevel::kReduced}) {
    const JailPlan plan = make_plan(make_setup(), level, "fresh", {});
    CHECK(plan.environment.size() == 12);
    for (const char* name : {"MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"})
      CHECK(variable(plan.environment, name) == "5");
    CHECK(variable(plan.environment, "HOME") == plan.working_directory);
    CHECK(variable(plan.environment, "LANG") == "C.UTF-8");
    CHECK(variable(plan.environment, "PYTHONIOENCODING") == "utf-8");
    CHECK(variable(plan.environment, "PYTHONUNBUFFERED") == "1");
    CHECK(variable(plan.environment, "PYTHONPATH") == plan.boot_directory);
    CHECK(variable(plan.environment, "CODERUNNER_PARK") ==
          "3:1023:fresh:" + plan.boot_directory + ":/srv/site:packages");
    CHECK(plan.argv == std::vector<std::string>{"/opt/python/bin/python3", "-X", "utf8", "script.py"});
  }
}

TEST_CASE("the library for shared memory comes first, and is one") {
  JailPlan plan = make_plan(make_setup(), SandboxLevel::kReduced, "fresh", {});
  const auto preloads = [](const std::string& row) { return row.starts_with("LD_PRELOAD="); };
  CHECK(std::ranges::none_of(plan.environment, preloads));
  preload_own_shm(plan);
  CHECK(variable(plan.environment, "LD_PRELOAD") == plan.boot_directory + "/own_shm.so");
  CHECK(plan.environment.back().starts_with("CODERUNNER_PARK="));
  CHECK(own_shm_library().starts_with("\x7f" "ELF"));
}

TEST_CASE("a template differs in what it is told to do") {
  const JailPlan plan = make_plan(make_setup(), SandboxLevel::kFull, "", {});
  const auto environment = template_environment(plan, make_setup(), false);
  CHECK(variable(environment, "CODERUNNER_PARK").starts_with("3:1023:template:"));
  CHECK(variable(environment, "CODERUNNER_PRELOAD") == "json,re");
  CHECK(std::ranges::none_of(environment, [](const std::string& row) {
    return row.starts_with("CODERUNNER_PACKAGES=");
  }));
  const auto with_packages = template_environment(plan, make_setup(), true);
  CHECK(variable(with_packages, "CODERUNNER_PRELOAD") == "json,re");
  CHECK(variable(with_packages, "CODERUNNER_PACKAGES") == "numpy?,torch");
  CHECK(variable(environment, "CODERUNNER_WALLS") == "namespaces");
  CHECK(variable(environment, "HOME") == "/work");
  const JailPlan reduced = make_plan(make_setup(), SandboxLevel::kReduced, "warm-1", {});
  CHECK(variable(template_environment(reduced, make_setup(), false), "CODERUNNER_WALLS") == "landlock");
}

TEST_CASE("a template and the fresh interpreters beside it have no writable folder in common") {
  const JailPlan warm = make_plan(make_setup(), SandboxLevel::kReduced, "warm-1", {});
  const JailPlan fresh = make_plan(make_setup(), SandboxLevel::kReduced, kFreshFolder, {});
  for (const std::string& path : warm.read_write_paths)
    CHECK(std::ranges::none_of(fresh.read_write_paths, [&](const std::string& other) {
      return path.starts_with(other);
    }));
  CHECK(warm.read_only_paths == fresh.read_only_paths);
}

TEST_CASE("the reduced level writes below its own folder only") {
  const JailPlan plan = make_plan(make_setup(), SandboxLevel::kReduced, "fresh", {});
  CHECK(plan.root.empty());
  for (const std::string& path : plan.read_write_paths) CHECK(path.starts_with("/tmp/coderunner-x/worker-3/fresh/"));
  CHECK(std::ranges::find(plan.read_only_paths, plan.boot_directory) != plan.read_only_paths.end());
}

TEST_CASE("what a parked interpreter reads") {
  JobSpec job;
  job.entry_point = "pkg/main.py";
  job.args = {"a", ""};
  job.env = {{"X", "1=2"}};
  CHECK(encode_runner_message(job) == "pkg/main.py\0002\0a\0\0001\0X=1=2\0"s);
}

TEST_CASE("every step of the set-up has a name of its own") {
  std::set<std::string_view> names;
  for (int step = 0; step <= static_cast<int>(SetupStep::kPark); ++step)
    names.insert(step_name(static_cast<SetupStep>(step)));
  CHECK(names.size() == static_cast<std::size_t>(SetupStep::kPark) + 1);
}

}  // namespace
}  // namespace coderunner
