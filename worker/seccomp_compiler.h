// Role: the system-call policy as programs for the kernel, by way of libseccomp.
// Callers: write_filters.cc, while the worker is built: to compile the two that a worker needs takes ten milliseconds,
// as long as half of an interpreter's start.
// Law: no worker has it in it.
#pragma once

#include <string>

#include "common/result.h"
#include "worker/seccomp_filter.h"

namespace coderunner {

// Numbers below this that no row claims get ENOSYS, so that programs fall back from calls that are newer than the
// table. Linux 6.18 has numbers up to 470 and gains about eight a year. Above it: EPERM, the default.
inline constexpr int kSyscallNumbers = 600;

// Fault::kSandbox with the row that libseccomp does not take.
Result<Filter> compile_worker_filter();
Result<Filter> compile_script_filter(ScriptFacts facts);  // refuses with EPERM

// "ptrace" for 101 on x86-64; empty for a number without a name.
std::string resolve_syscall(int number);

}  // namespace coderunner
