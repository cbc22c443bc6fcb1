// Role: the system-call filter: seccomp_policy.h as a program the kernel runs at every call.
// Callers: the worker compiles each kind once (libseccomp takes milliseconds) and installs its own at start; a runner
// installs a script's as its last step before it executes Python.
// Law: one architecture and one table of calls: another one's entry (int 0x80, x32) ends the process by SIGSYS.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "common/result.h"

namespace coderunner {

enum class FilterKind : std::uint8_t {
  kWorker,         // the worker and everything it starts
  kScriptFull,     // a script in namespaces of its own: TCP and UDP sockets reach an empty network only
  kScriptReduced,  // a script without: Unix sockets only
};

struct Filter {
  std::vector<sock_filter> program;
};

Result<Filter> compile_filter(FilterKind kind);

// For the rest of the life of this process and of all it will start. Needs no_new_privs or CAP_SYS_ADMIN. Allocates
// only to report an error.
Result<void> install_filter(const Filter& filter);

}  // namespace coderunner
