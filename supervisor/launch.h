// Role: what `serve`, `run` and `--check` have in common: from the settings of a process that may be root to a pool of
// workers described and ready to be born by a process that is not.
// Callers: main.cc, run_command.cc, check_command.cc.
// Law: lay_ground runs before threads exist and ends without root's rights; find_python comes after it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "supervisor/complain.h"
#include "supervisor/birth.h"
#include "supervisor/interpreter.h"
#include "supervisor/keeper.h"
#include "supervisor/pool.h"
#include "supervisor/settings.h"

namespace coderunner {

struct Ground {
  Account account;  // whom the service runs as
  WorkerProgram program;
  std::string temp_dir;
  std::uint64_t descriptors;  // this process may have so many (getrlimit(2), RLIMIT_NOFILE)
  std::vector<std::vector<std::string>> cgroup_dirs;
  std::vector<std::string> notes;  // for the log: what is missing, why, and the cure
  Keeper keeper;                   // last, so that it cleans up after everything else is gone
};

// `title_area`: the memory of this process's arguments, which ps shows.
Result<Ground> lay_ground(const Settings& settings, std::size_t workers, std::span<char> title_area);

Result<Interpreter> find_python(const Settings& settings);

// The pool refers to `ground`, which outlives it.
PoolConfig describe_pool(const Settings& settings, std::size_t workers, Ground& ground, const Interpreter& python);

// How many connections leave the workers, their rebirths and the waiting requests the descriptors that they need, so
// that no crowd of clients costs a job an error; at least 4, at most as in HttpConfig.
struct ConnectionLimits {
  std::size_t connections, lingering;
};
ConnectionLimits limit_connections(std::uint64_t descriptors, std::size_t workers, std::uint64_t queue);

std::size_t count_workers(const Settings& settings);  // --workers, or one a core

}  // namespace coderunner
