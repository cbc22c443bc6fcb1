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
  health.report = ReadyReport{.level = SandboxLevel::kFull, .python = "3.11.2",
                              .layers = {{"files", true, "pivot_root"}, {"memory", false, "no \"cgroup\""}}};
  const HttpReply reply = make_health_page(health, "0.1.0");
  CHECK(reply.status == 200);
  CHECK(reply.body ==
        R"({"status":"healthy","version":"0.1.0","python":"3.11.2","workers":{"ready":1,"busy":1},"queue":3,)"
        R"("sandbox":{"level":"full","layers":{"files":{"active":true,"detail":"pivot_root"},)"
        R"("memory":{"active":false,"detail":"no \"cgroup\""}}}})");
}

TEST_CASE("health before the first worker, with births that fail, and while draining") {
  PoolHealth health;
  health.starting = 2;
  CHECK(make_health_page(health, "1").status == 503);
  CHECK(make_health_page(health, "1").body ==
        R"({"status":"starting","version":"1","python":null,"workers":{"ready":0,"busy":0},"queue":0,"sandbox":null})");
  health.trouble = "mounts: EPERM";
  CHECK(make_health_page(health, "1").body.ends_with(R"("sandbox":null,"trouble":"mounts: EPERM"})"));
  health.busy = 1;
  health.report = ReadyReport{};
  CHECK(make_health_page(health, "1").status == 200);
  CHECK(make_health_page(health, "1").body.find(R"("level":"reduced","layers":{})") != std::string::npos);
  health.draining = true;
  CHECK(make_health_page(health, "1").status == 503);
  CHECK(make_health_page(health, "1").body.starts_with(R"({"status":"draining",)"));
}

TEST_CASE("the front page answers probes") {
  CHECK(make_front_page("1.2.3").status == 200);
  CHECK(make_front_page("1.2.3").body.starts_with("CodeRunner 1.2.3: "));
}

}  // namespace
}  // namespace coderunner
