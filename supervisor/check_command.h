// Role: `coderunner --check`: what the sandbox is worth on this machine, layer by layer.
// Callers: main.cc.
// Law: real workers with the given settings; only the limits are small, so that each can be reached in a moment.
#pragma once

#include <span>

#include "supervisor/settings.h"

namespace coderunner {

// The report on standard output, as a table or (--json) as one object. Exit status: 0 full, 3 reduced, 1 unusable: a
// layer fails, or no worker can be started with these settings (the reason is on standard error).
int check_command(const Settings& settings, std::span<char> title_area);

}  // namespace coderunner
