// Role: see under_filter.h.
#include "support/under_filter.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "common/sys.h"
#include "worker/privileges.h"

namespace coderunner::test {

ScriptFacts facts_of(FilterKind kind) {
  constexpr SandboxLevel kFull = SandboxLevel::kFull, kReduced = SandboxLevel::kReduced;
  constexpr NetworkMode kApart = NetworkMode::kNone, kHost = NetworkMode::kHost;
  constexpr MemoryAccount kCgroup = MemoryAccount::kCgroup, kNone = MemoryAccount::kNone;
  switch (kind) {
    case FilterKind::kWorker:
    case FilterKind::kScriptFull: return {kFull, kApart, kCgroup};
    case FilterKind::kScriptReduced: return {kReduced, kApart, kCgroup};
    case FilterKind::kFullOnHost: return {kFull, kHost, kCgroup};
    case FilterKind::kReducedOnHost: return {kReduced, kHost, kCgroup};
    case FilterKind::kFullUncharged: return {kFull, kApart, kNone};
    case FilterKind::kReducedUncharged: return {kReduced, kApart, kNone};
  }
  return {};
}

const Filter& filter_of(FilterKind kind) {
  static std::map<FilterKind, Filter> filters;
  if (!filters.contains(kind))
    filters[kind] = kind == FilterKind::kWorker ? worker_filter() : script_filter(facts_of(kind));
  return filters[kind];
}

std::string under(std::initializer_list<FilterKind> kinds, const Piece& piece) {
  if (const auto done = set_no_new_privileges(); !done) return done.error().message;
  for (const FilterKind kind : kinds) {
    if (const auto done = install_filter(filter_of(kind)); !done) return done.error().message;
  }
  return piece();
}

std::string ending(const Piece& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const std::string trouble = body();
    if (!trouble.empty()) (void)sys::write_all(STDERR_FILENO, trouble + "\n");
    ::_exit(trouble.empty() ? 0 : 1);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return sys::last_error("waitpid").message;
  if (WIFSIGNALED(status)) return fmt::format("signal {}", ::sigabbrev_np(WTERMSIG(status)));
  return fmt::format("exit {}", WEXITSTATUS(status));
}

}  // namespace coderunner::test
