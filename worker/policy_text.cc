// Role: see policy_text.h.
#include "worker/policy_text.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "worker/seccomp_conditions.h"
#include "worker/seccomp_policy.h"

namespace coderunner {
namespace {

constexpr std::array<std::string_view, 5> kVerdicts = {"allow", "deny", "conditional", "full-only", "enosys"};

// Where everything else is as it is by default. Empty for a row of another place.
std::string levels_of(policy::Scopes scopes) {
  const bool full = (scopes & policy::scope_of({SandboxLevel::kFull})) != 0;
  const bool reduced = (scopes & policy::scope_of({SandboxLevel::kReduced})) != 0;
  return full && reduced ? "full,reduced" : full ? "full" : reduced ? "reduced" : "";
}

std::string tests_of(const policy::ConditionRow& row) {
  std::string out;
  for (std::size_t i = 0; i < row.count; ++i)
    out += fmt::format("{}{}:{:x}:{:x}", i == 0 ? "" : " ", row.tests[i].arg, row.tests[i].mask, row.tests[i].value);
  return out;
}

}  // namespace

std::string describe_policy() {
  std::string out;
  for (const SyscallRow& row : policy::kRows)
    out += fmt::format("row\t{}\t{}\t{}\n", row.name, kVerdicts.at(static_cast<std::size_t>(row.script)), row.why);
  for (const policy::ConditionRow& row : policy::kConditions) {
    const std::string levels = levels_of(row.scopes);
    if (!levels.empty()) out += fmt::format("condition\t{}\t{}\t{}\t{}\n", row.name, levels, tests_of(row), row.why);
  }
  return out;
}

}  // namespace coderunner
