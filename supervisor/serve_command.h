// Role: `coderunner serve` from the settings to the last answer: pool -> routes -> signals -> drain.
// Callers: main.cc.
// Law: the order of things at the start and at the end is written here and nowhere else.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "supervisor/interpreter.h"
#include "supervisor/sandbox_report.h"
#include "supervisor/settings.h"

namespace coderunner {

// The exit status: 0 after a drain, 1 when the service could not start.
int serve_command(const Settings& settings, std::span<char> title_area);

// How strong the sandbox is: the report of the check, or without a worker why there is none.
struct StartFacts {
  const SandboxReport* sandbox = nullptr;
  std::string trouble;
};

// The first line of the log: where the service listens, with which Python, how strong its sandbox is and, below the
// full level or without any worker, why.
std::string format_start_line(const Settings& settings, int port, std::size_t workers, const Interpreter& python,
                              const StartFacts& facts, const std::vector<std::string>& notes);

}  // namespace coderunner
