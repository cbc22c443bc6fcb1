// Role: `coderunner run SCRIPT`: one job through one real worker, without HTTP.
// Callers: main.cc.
// Law: the same worker, the same limits and the same session as for POST /api/run; only the ends differ: files and
// standard streams instead of a request and an answer.
#pragma once

#include <span>

#include "common/result.h"
#include "supervisor/request.h"
#include "supervisor/settings.h"

namespace coderunner {

inline constexpr int kExitUsage = 2;      // the command is wrong, or a file it names can not be read
inline constexpr int kExitInternal = 70;  // EX_SOFTWARE (sysexits.h): our fault, never the script's

// The exit status: the script's (0..255, 128+N, 124, 137), or one of the two above with the reason on standard error.
int run_command(const Settings& settings, std::span<char> title_area);

// What is asked for, as a request: the script, the inputs as ./input/NAME, arguments, `stdin_bytes`.
// Fault::kClient names the file or the limit.
Result<RunRequest> make_command_request(const Settings& settings, std::string stdin_bytes);

}  // namespace coderunner
