// Role: the small pages: health, and the front page that probes ask for.
// Callers: routes as main.cc makes them.
// Law: pure functions from what is to what is shown.
#pragma once

#include <string_view>

#include "supervisor/http.h"
#include "supervisor/pool.h"
#include "supervisor/sandbox_report.h"

namespace coderunner {

// 200 while jobs can run; 503 as "starting" before the first worker is ready (with `trouble` when births fail) and as
// "draining" after SIGTERM.
// `sandbox`: the report of the check at the start; null until it has been made.
HttpReply make_health_page(const PoolHealth& health, std::string_view version, const SandboxReport* sandbox);

HttpReply make_front_page(std::string_view version);

}  // namespace coderunner
