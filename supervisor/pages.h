// Role: the small pages: health, and the front page that probes ask for.
// Callers: routes as main.cc makes them.
// Law: pure functions from what is to what is shown.
#pragma once

#include <string_view>

#include "supervisor/http.h"
#include "supervisor/pool.h"

namespace coderunner {

// 200 while jobs can run; 503 as "starting" before the first worker is ready (with `trouble` when births fail) and as
// "draining" after SIGTERM.
HttpReply make_health_page(const PoolHealth& health, std::string_view version);

HttpReply make_front_page(std::string_view version);

}  // namespace coderunner
