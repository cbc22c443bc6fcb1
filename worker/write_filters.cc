// Role: a program that writes seccomp_programs.inc: every filter that a worker may need, and the names of the calls.
// Callers: worker/meson.build, for seccomp_filter.cc.
// Law: one program for the worker and one for each kind of script; kinds that have the same one share it.
#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <string>

#include "worker/seccomp_compiler.h"
#include "worker/seccomp_conditions.h"

namespace coderunner {
namespace {

std::string text_of(const Filter& filter) {
  std::string text;
  for (const sock_filter& step : filter.program)
    text += fmt::format("{{{},{},{},{}}},", step.code, step.jt, step.jf, step.k);
  return text;
}

Result<std::string> all_programs() {
  std::map<policy::Scopes, std::string> programs;
  programs[policy::kWorkerScope] = text_of(TRY(compile_worker_filter()));
  for (const ScriptFacts& facts : policy::kKinds)
    programs[policy::scope_of(facts)] = text_of(TRY(compile_script_filter(facts)));
  std::map<std::string, policy::Scopes> first;  // of the kinds that share a program, the one it is named after
  std::string arrays, table;
  for (const auto& [scope, program] : programs) {
    const auto [same, fresh] = first.emplace(program, scope);
    if (fresh) arrays += fmt::format("constexpr sock_filter kProgram{}[] = {{{}}};\n", scope, program);
    table += fmt::format("    {{{}, kProgram{}}},\n", scope, same->second);
  }
  return fmt::format("{}constexpr std::array<Compiled, {}> kPrograms = {{{{\n{}}}}};\n", arrays, programs.size(),
                     table);
}

std::string all_names() {
  std::string names;
  for (int number = 0; number < kSyscallNumbers; ++number) names += fmt::format("\"{}\",", resolve_syscall(number));
  return fmt::format("constexpr std::array<std::string_view, {}> kSyscallNames = {{{}}};\n", kSyscallNumbers, names);
}

}  // namespace
}  // namespace coderunner

int main() {
  const auto programs = coderunner::all_programs();
  if (!programs) {
    std::fputs((programs.error().message + "\n").c_str(), stderr);
    return 1;
  }
  return std::fputs((*programs + coderunner::all_names()).c_str(), stdout) < 0 ? 1 : 0;
}
