// Role: `coderunner --check`: what the sandbox is worth on this machine, layer by layer.
// Callers: main.cc.
// Law: it asks a real worker with the given settings and repeats what that one found; it judges nothing itself.
#pragma once

#include <span>
#include <string>

#include "common/job.h"
#include "supervisor/settings.h"

namespace coderunner {

// The report on standard output, as a table or (--json) as one object. Exit status: 0 when workers can be started
// with these settings (so below the full level not under --sandbox strict), else 70 with the reason on standard error.
int check_command(const Settings& settings, std::span<char> title_area);

std::string format_check_table(const ReadyReport& report);
std::string format_check_json(const ReadyReport& report);

}  // namespace coderunner
