// Role: what health says in each state of the pool.
#include "supervisor/pages.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

TEST_CASE("health of a service that works, byte for byte") {
  PoolHealth health;
  health.ready = 1;
  health.busy = 1;
  health.queued = 3;
  health.leaks = 2;
  health.report = ReadyReport{};
  health.report->python = "3.11.2";
  const SandboxReport sandbox{SandboxLevel::kFull, "6.1.0", "3.11.2", "fresh", "cgroup v1", 6,
                              {{"files", LayerStatus::kHolds, "pivot_root", "read \"it\"", "EACCES", ""},
                               {"memory", LayerStatus::kMissing, "none", "", "no cgroup", "start as root"}}};
  const HttpReply reply = make_health_page(health, "0.1.0", &sandbox);
  CHECK(reply.status == 200);
  CHECK(reply.body ==
        R"({"status":"healthy","version":"0.1.0","python":"3.11.2","workers":{"ready":1,"busy":1},"queue":3,"leaks":2,)"
        R"("sandbox":{"level":"full","kernel":"6.1.0","python":"3.11.2","runner":"fresh","memory_accounting":"cgroup v1",)"
        R"("landlock_abi":6,"layers":{)"
        R"("files":{"active":true,"status":"holds","detail":"pivot_root","tried":"read \"it\"","found":"EACCES"},)"
        R"("memory":{"active":false,"status":"missing","detail":"none","found":"no cgroup","cure":"start as root"}}}})");
}

TEST_CASE("health before the first worker, with births that fail, and while draining") {
  PoolHealth health;
  health.starting = 2;
  CHECK(make_health_page(health, "1", nullptr).status == 503);
  CHECK(make_health_page(health, "1", nullptr).body ==
        R"({"status":"starting","version":"1","python":null,"workers":{"ready":0,"busy":0},"queue":0,"leaks":0,"sandbox":null})");
  health.trouble = "mounts: EPERM";
  CHECK(make_health_page(health, "1", nullptr).body.ends_with(R"("sandbox":null,"trouble":"mounts: EPERM"})"));
  health.busy = 1;
  health.report = ReadyReport{};
  CHECK(make_health_page(health, "1", nullptr).status == 200);
  health.draining = true;
  CHECK(make_health_page(health, "1", nullptr).status == 503);
  CHECK(make_health_page(health, "1", nullptr).body.starts_with(R"({"status":"draining",)"));
}

TEST_CASE("the front page answers probes") {
  CHECK(make_front_page("1.2.3").status == 200);
  CHECK(make_front_page("1.2.3").body.starts_with("CodeRunner 1.2.3: "));
}

}  // namespace
}  // namespace coderunner
