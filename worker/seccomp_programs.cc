// Role: the filters that travel inside the worker, and the names of the system calls.
// Callers: see seccomp_filter.h.
// Law: write_filters.cc makes them of the policy at build time; nothing here knows the policy.
#include "worker/seccomp_filter.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <string_view>

#include "worker/seccomp_conditions.h"

namespace coderunner {

namespace {

struct Compiled {
  policy::Scopes scope;
  std::span<const sock_filter> program;
};

#include "seccomp_programs.inc"  // kPrograms, kSyscallNames

Filter program_of(policy::Scopes scope) {
  const auto found = std::ranges::find(kPrograms, scope, &Compiled::scope);
  return {.program = {found->program.begin(), found->program.end()}};
}

// libseccomp has no filters whose default is to notify.
void let_listener_refuse(Filter& filter) {
  for (sock_filter& step : filter.program) {
    if (step.code == (BPF_RET | BPF_K) && step.k == (SECCOMP_RET_ERRNO | EPERM)) step.k = SECCOMP_RET_USER_NOTIF;
  }
  filter.notifies = true;
}

}  // namespace

Filter worker_filter() { return program_of(policy::kWorkerScope); }

Filter script_filter(ScriptFacts facts, Refusal refusal) {
  Filter filter = program_of(policy::scope_of(facts));
  if (refusal == Refusal::kByListener) let_listener_refuse(filter);
  return filter;
}

std::string syscall_name(int number) {
  const bool known = number >= 0 && number < static_cast<int>(kSyscallNames.size());
  const std::string_view name = known ? kSyscallNames.at(static_cast<std::size_t>(number)) : "";
  return name.empty() ? fmt::format("syscall {}", number) : std::string(name);
}

}  // namespace coderunner
