// Role: what ps shows of a worker and its init: `coderunner-worker 3 idle`.
// Callers: worker/main.cc, init.cc.
#pragma once

#include <cstdint>
#include <string_view>

namespace coderunner {

// Remembers where argv lies; before any other call, once.
void keep_process_title(int argc, char** argv, std::string_view name);
void set_process_slot(std::uint32_t slot);
// Overwrites argv in place (proc_pid_cmdline(5)), cut to the room that it offers.
void set_process_title(std::string_view state);

}  // namespace coderunner
