// Role: shell completion of the command line, from the table of settings: `coderunner --completion bash`.
// Callers: main.cc.
// Law: what a flag completes to follows from what its row takes; no flag of a setting is named in completion.cc.
#pragma once

#include <string>

namespace coderunner {

// For bash: `source <(coderunner --completion bash)`.
std::string make_bash_completion();

}  // namespace coderunner
