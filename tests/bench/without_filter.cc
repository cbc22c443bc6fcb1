// Role: the system-call filter switched off: takes the place of worker/seccomp_filter.cc and seccomp_programs.cc in a
// worker for the benchmark.
// Callers: tests/bench/meson.build links it before the worker's library.
// Law: measures only, never installed: a worker with this in it protects nobody.
#include "worker/seccomp_filter.h"

namespace coderunner {

Filter worker_filter() {
  return Filter{.program = {{BPF_RET | BPF_K, 0, 0, 0x7fff0000U}}};  // SECCOMP_RET_ALLOW
}

Filter script_filter(ScriptFacts, Refusal) { return worker_filter(); }

Result<UniqueFd> install_filter(const Filter&) { return UniqueFd(); }

std::string syscall_name(int) { return "none is refused"; }

}  // namespace coderunner
