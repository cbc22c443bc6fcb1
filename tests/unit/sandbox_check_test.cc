// Role: what is made of attempts: a layer that holds, one that is missing, one that fails; the table, the exit status.
#include "supervisor/sandbox_check.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

constexpr std::string_view kNoProc = "/nonexistent";

SandboxReport report_of(SandboxLevel level, std::vector<LayerState> layers, std::string_view output, unsigned abi = 7) {
  const auto attempts = parse_attempts(output);
  return make_sandbox_report({level, "3.11.2", std::move(layers), 0, false, {}, {}},
                             attempts, {"6.1.0", abi}, {std::string(kNoProc)});
}

TEST_CASE("the probe's lines are read, and nothing else is") {
  const auto attempts = parse_attempts(
      "files\tread it\trefused\tEACCES\nnoise\nfiles\ta\tperhaps\tb\nipc\tattach\tallowed\t\n");
  REQUIRE(attempts.size() == 2);
  CHECK(attempts[0].layer == "files");
  CHECK(attempts[0].tried == "read it");
  CHECK(attempts[0].outcome == Outcome::kRefused);
  CHECK(attempts[0].found == "EACCES");
  CHECK(attempts[1].outcome == Outcome::kAllowed);
}

TEST_CASE("the status of a layer follows from what the worker says and from what was tried") {
  constexpr auto kFull = SandboxLevel::kFull, kReduced = SandboxLevel::kReduced;
  const struct {
    std::string what;
    SandboxLevel level;
    bool active;
    std::string layer, output;
    unsigned abi;
    LayerStatus status;
    int exit_status;
  } rows[] = {
      {"nothing tried", kFull, true, "files", "", 7, LayerStatus::kInForce, 0},
      {"skipped", kFull, true, "files", "files\tx\tskipped\twhy\n", 7, LayerStatus::kInForce, 0},
      {"refused", kFull, true, "files", "files\tx\trefused\tEACCES\n", 7, LayerStatus::kHolds, 0},
      {"allowed", kFull, true, "files", "files\tx\tallowed\tit worked\n", 7, LayerStatus::kFails, 1},
      {"allowed, then refused", kFull, true, "files", "files\tx\tallowed\ty\nfiles\tz\trefused\ty\n", 7,
       LayerStatus::kFails, 1},
      {"refused, then allowed", kFull, true, "files", "files\tx\trefused\ty\nfiles\tz\tallowed\ty\n", 7,
       LayerStatus::kFails, 1},
      {"the worker says no", kReduced, false, "files", "files\tx\tallowed\ty\n", 0, LayerStatus::kMissing, 3},
      {"a gap of an old kernel", kReduced, true, "other_processes",
       "other_processes\tsignal the service\tallowed\ty\n", 5, LayerStatus::kMissing, 3},
      {"no gap of a newer one", kReduced, true, "other_processes",
       "other_processes\tsignal the service\tallowed\ty\n", 6, LayerStatus::kFails, 1},
      {"no gap at the full level", kFull, true, "other_processes",
       "other_processes\tsignal the service\tallowed\ty\n", 5, LayerStatus::kFails, 1},
      {"reduced and all holds", kReduced, true, "files", "files\tx\trefused\ty\n", 7, LayerStatus::kHolds, 3},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const SandboxReport report = report_of(row.level, {{row.layer, row.active, "means"}}, row.output, row.abi);
    REQUIRE(report.layers.size() == 1);
    CHECK(report.layers[0].status == row.status);
    CHECK(check_exit_status(report) == row.exit_status);
    CHECK(describe_weakness(report).empty() ==
          (row.status != LayerStatus::kMissing && row.status != LayerStatus::kFails));
  }
}

TEST_CASE("what the worker does not speak of is a layer of its own, and what was tried more than once is said once") {
  const SandboxReport report = report_of(
      SandboxLevel::kFull, {{"files", true, "own tree"}},
      "ipc\tattach\trefused\tEINVAL\nipc\tattach\trefused\tEINVAL\nipc\tlist\trefused\tEPERM\n");
  REQUIRE(report.layers.size() == 2);
  CHECK(report.layers[1].name == "ipc");
  CHECK(report.layers[1].tried == "attach, list");
  CHECK(report.layers[1].found == "EINVAL, EPERM");
}

TEST_CASE("who counts memory is told from the worker's words") {
  for (const auto& [detail, source] : {std::pair{"memory: cgroup v1; processes: cgroup v1", "cgroup v1"},
                                       std::pair{"memory: cgroup v2; processes: no controller", "cgroup v2"},
                                       std::pair{"watched from outside", "watcher"}}) {
    CHECK(report_of(SandboxLevel::kFull, {{"memory", true, detail}}, "").memory_accounting == source);
  }
}

TEST_CASE("the table for people, letter for letter") {
  SandboxReport report = report_of(SandboxLevel::kReduced,
                                   {{"namespaces", false, "unshare(user): ENOSPC"}, {"files", true, "Landlock ABI 7"}},
                                   "files\tread a file\trefused\tEACCES\n");
  report.runner = "fresh";
  report.layers[0].found = "denied";
  report.layers[0].cure = "allow it";
  CHECK(format_sandbox_table(report) ==
        "sandbox   reduced\n"
        "kernel    6.1.0, Landlock ABI 7\n"
        "Python    3.11.2, fresh runners tried\n"
        "memory    counted by watcher\n"
        "\n"
        "namespaces  missing   denied: allow it\n"
        "files       holds     Landlock ABI 7\n"
        "                      tried: read a file\n");
  CHECK(describe_weakness(report) == "namespaces: denied: allow it");
}

TEST_CASE("a worker that does not start: its own words, the cause, the cure") {
  CHECK(explain_trouble("no Python", {std::string(kNoProc)}) == "no Python");
  CHECK(explain_trouble("mount(proc): EPERM", {std::string(kNoProc)}).find("systempaths=unconfined") !=
        std::string::npos);
}

}  // namespace
}  // namespace coderunner
