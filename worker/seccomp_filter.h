// Role: the system-call filter: seccomp_policy.h as a program the kernel runs at every call.
// Callers: the worker compiles each kind once (libseccomp takes milliseconds) and installs its own at start; a runner
// installs a script's as its last step before it executes Python.
// Law: one architecture and one table of calls: another one's entry (int 0x80, x32) ends the process by SIGSYS.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

enum class FilterKind : std::uint8_t {
  kWorker,         // the worker and everything it starts
  kScriptFull,     // a script in namespaces of its own: TCP and UDP sockets reach an empty network only
  kScriptReduced,  // a script without: Unix sockets only
};

// How a call that a script's filter refuses is answered.
enum class Refusal : std::uint8_t {
  kByFilter,    // with EPERM, and nobody knows
  kByListener,  // by whoever holds the listener: EPERM, too, and the call has a name (denials.h)
};

struct Filter {
  std::vector<sock_filter> program;
  bool notifies = false;  // Refusal::kByListener
};

// The worker's own filter answers with ENOSYS whatever `refusal` says, and by way of SECCOMP_RET_TRACE: of two filters'
// answers the kernel takes the stricter, and an EPERM of the worker's would come before the script's notification.
// Without a tracer, which no process below a worker can be, such a call is not executed (seccomp(2)).
Result<Filter> compile_filter(FilterKind kind, Refusal refusal = Refusal::kByFilter);

// For the rest of the life of this process and of all it will start. Needs no_new_privs or CAP_SYS_ADMIN. Allocates
// only to report an error. The listener of a filter that notifies, close-on-exec; else nothing valid.
Result<UniqueFd> install_filter(const Filter& filter);

// "ptrace" for 101 on x86-64; "syscall 700" for one that has no name.
std::string syscall_name(int number);

}  // namespace coderunner
