// Role: asks the system's Python, the authority on what Python does.
// Callers: tests that compare with it.
// Law: one process a call, from files in memory to files in memory, so that neither end waits for the other.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace coderunner::test {

// Standard output of `python3 -I -c script` that reads `input`; an error when it can not be run, takes more than two
// minutes or exits with anything but 0.
Result<std::string> run_python(const std::string& script, std::string_view input);

}  // namespace coderunner::test
