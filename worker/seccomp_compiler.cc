// Role: compiles the policy through libseccomp.
// Callers: see seccomp_compiler.h.
// Law: the only file that includes <seccomp.h>.
#include "worker/seccomp_compiler.h"

#include <fmt/format.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/sys.h"
#include "worker/seccomp_conditions.h"

namespace coderunner {

namespace {


// A full tree search instead of a list (seccomp_attr_set(3), SCMP_FLTATR_CTL_OPTIMIZE): 9 comparisons, not 400.
constexpr std::uint32_t kBinaryTree = 2;

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

// The row's verdict for one filter, kFullOnly resolved.
SyscallVerdict verdict_of(const SyscallRow& row, policy::Scopes scope) {
  if (scope == policy::kWorkerScope) return row.worker;
  if (row.script != SyscallVerdict::kFullOnly) return row.script;
  return (scope & policy::kFullScope) != 0 ? SyscallVerdict::kAllow : SyscallVerdict::kDeny;
}

// libseccomp answers a negative errno.
Result<void> check(int answer, std::string_view what) {
  if (answer >= 0) return {};
  const char* name = strerrorname_np(-answer);
  return fail(Fault::kSandbox, fmt::format("seccomp: {}: {}", what, name == nullptr ? "unknown error" : name));
}

Result<void> add_conditions(scmp_filter_ctx context, std::string_view name, int number, policy::Scopes scope) {
  for (const policy::ConditionRow& row : policy::kConditions) {
    if (row.name != name || (row.scopes & scope) == 0) continue;
    std::array<scmp_arg_cmp, 3> tests{};
    for (std::size_t i = 0; i < row.count; ++i) {
      tests[i] = {row.tests[i].arg, SCMP_CMP_MASKED_EQ, row.tests[i].mask, row.tests[i].value};
    }
    TRY(check(seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, row.count, tests.data()), name));
  }
  return {};
}

Result<void> add_rows(scmp_filter_ctx context, policy::Scopes scope) {
  std::array<bool, kSyscallNumbers> claimed{};
  for (const SyscallRow& row : policy::kRows) {
    const int number = seccomp_syscall_resolve_name(std::string(row.name).c_str());
    if (number < 0) continue;  // not on this architecture, or newer than this libseccomp: ENOSYS by its number
    if (number < kSyscallNumbers) claimed[static_cast<std::size_t>(number)] = true;
    switch (verdict_of(row, scope)) {
      case SyscallVerdict::kAllow:
        TRY(check(seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0), row.name));
        break;
      case SyscallVerdict::kNoSys:
        TRY(check(seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), number, 0), row.name));
        break;
      case SyscallVerdict::kConditional:
        TRY(add_conditions(context, row.name, number, scope));
        break;
      case SyscallVerdict::kDeny:
      case SyscallVerdict::kFullOnly:
        break;  // the default
    }
  }
  for (int number = 0; number < kSyscallNumbers; ++number) {
    if (claimed[static_cast<std::size_t>(number)]) continue;
    TRY(check(seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), number, 0), "unassigned number"));
  }
  return {};
}

// libseccomp writes programs to descriptors only (until 2.6).
Result<Filter> export_program(scmp_filter_ctx context) {
  const long memory = TRY(sys::retry("memfd_create", [] { return ::memfd_create("filter", MFD_CLOEXEC); }));
  const UniqueFd fd(static_cast<int>(memory));
  TRY(check(seccomp_export_bpf(context, fd.get()), "export"));
  TRY(sys::retry("lseek", [&] { return ::lseek(fd.get(), 0, SEEK_SET); }));
  const std::string bytes = TRY(sys::read_all(fd.get(), BPF_MAXINSNS * sizeof(sock_filter)));
  Filter filter;
  filter.program.resize(bytes.size() / sizeof(sock_filter));
  bytes.copy(reinterpret_cast<char*>(filter.program.data()), bytes.size());
  return filter;
}

// `refusal`: what a call gets that no rule allows.
Result<Filter> compile(policy::Scopes scope, std::uint32_t refusal) {
  const Context context(seccomp_init(refusal), &seccomp_release);
  if (!context) return fail(Fault::kSandbox, "seccomp: init failed");
  // The native architecture is the only one; libseccomp sends x32 numbers on x86_64 the same way.
  TRY(check(seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad architecture"));
  // Refused by libseccomp before 2.5: the filter is then a list, slower and as strict.
  (void)seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
  TRY(add_rows(context.get(), scope));
  return export_program(context.get());
}

}  // namespace

Result<Filter> compile_worker_filter() { return compile(policy::kWorkerScope, SCMP_ACT_TRACE(0)); }

Result<Filter> compile_script_filter(ScriptFacts facts) {
  return compile(policy::scope_of(facts), SCMP_ACT_ERRNO(EPERM));
}

std::string resolve_syscall(int number) {
  const std::unique_ptr<char, decltype(&std::free)> name(seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number),
                                                         &std::free);
  return name ? std::string(name.get()) : std::string();
}

}  // namespace coderunner
