// Role: finds the Python that runs the scripts and learns what it needs to see of the file system.
// Callers: launch.cc, after privileges are dropped: what the service's user can not run is of no use.
// Law: asks the interpreter itself and guesses nothing that it can tell.
#pragma once

#include <string>
#include <vector>

#include "common/job.h"
#include "common/result.h"

namespace coderunner {

struct InterpreterRequest {
  std::string python;     // --python: this one or none; empty: the first usable one
  std::string search;     // the value of PATH, for python3
  std::string packages;   // --packages; empty: the default places
  std::string beside;     // the folder of the running executable: one of the default places
  NetworkMode network = NetworkMode::kNone;  // kHost: what finds names on the network is shown, too
};

struct Interpreter {
  std::string path;                          // absolute, as Python sees itself (sys.executable)
  std::string version;                       // "3.11.2"
  std::vector<std::string> read_only_paths;  // absolute, existing, sorted, none below another one
  std::string packages;                      // absolute, or empty
  std::string bootstrap_name, bootstrap_code;  // as in WorkerSetup
  std::vector<std::string> standard_modules;   // top-level names of its standard library, sorted
  std::string note;                          // for the log, or empty
};

// Fault::kInternal with every candidate and why it is not usable.
Result<Interpreter> find_interpreter(const InterpreterRequest& request);

// What an interpreter answers when asked.
struct InterpreterFacts {
  std::string version, executable, real_executable;
  std::vector<std::string> prefixes, search_path, libraries;
  std::string bootstrap_name, bootstrap_code;
  std::vector<std::string> standard_modules;  // sorted
};
// Runs it: at most 10 s.
Result<InterpreterFacts> ask_interpreter(const std::string& python);

// From these facts the paths as in Interpreter.
std::vector<std::string> derive_read_only_paths(const InterpreterFacts& facts, NetworkMode network);

}  // namespace coderunner
