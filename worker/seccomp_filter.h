// Role: the system-call filter: seccomp_policy.h as a program the kernel runs at every call.
// Callers: the worker installs its own at start; a runner installs a script's as its last step before it executes
// Python.
// Law: one architecture and one table of calls: another one's entry (int 0x80, x32) ends the process by SIGSYS.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/job.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/rlimits.h"

namespace coderunner {

// What a script's filter depends on.
struct ScriptFacts {
  SandboxLevel level = SandboxLevel::kFull;  // with namespaces of its own, or without
  NetworkMode network = NetworkMode::kNone;  // kHost: TCP and UDP sockets reach what the host reaches
  MemoryAccount memory = MemoryAccount::kCgroup;  // kNone: no memory that is nowhere mapped
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

// The worker's own, for itself and everything it starts, answers with ENOSYS, and by way of SECCOMP_RET_TRACE: of two
// filters' answers the kernel takes the stricter, and an EPERM of the worker's would come before the script's
// notification. Without a tracer, which no process below a worker can be, such a call is not executed (seccomp(2)).
Filter worker_filter();
Filter script_filter(ScriptFacts facts, Refusal refusal = Refusal::kByFilter);

// For the rest of the life of this process and of all it will start. Needs no_new_privs or CAP_SYS_ADMIN. Allocates
// only to report an error. The listener of a filter that notifies, close-on-exec; else nothing valid.
Result<UniqueFd> install_filter(const Filter& filter);

// "ptrace" for 101 on x86-64; "syscall 700" for one that has no name.
std::string syscall_name(int number);

}  // namespace coderunner
