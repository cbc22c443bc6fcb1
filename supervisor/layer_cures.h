// Role: from a layer that is missing, or works by lesser means, to the setting of the machine that is the cause, and
// what to do about it.
// Callers: sandbox_check.cc.
// Law: names a setting only after having read it; a cure is a command or a setting that exists.
#pragma once

#include <string>
#include <string_view>

#include "supervisor/sandbox_report.h"

namespace coderunner {

// Where the kernel's own word is read; a parameter so that tests can play a machine.
struct MachineFacts {
  std::string proc = "/proc";
};

// Fills `found` (the cause) and `cure` of a layer that is missing, and `cure` of one that could be better.
void explain_layer(LayerReport& layer, const MachineFacts& machine);

}  // namespace coderunner
