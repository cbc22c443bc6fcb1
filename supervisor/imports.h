// Role: which modules a script imports, as far as its text shows; and whether that asks for a runner with packages.
// Callers: run_route.cc, for each request; launch.cc divides the list of --preload.
// Law: a guess that costs time when it is wrong, and nothing else: a script may import in other ways, and what it has
// not been given it imports itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/request.h"

namespace coderunner {

// Top-level names of the standard library, sorted (Interpreter::standard_modules).
using ModuleNames = std::vector<std::string>;

// The top-level names behind `import` and `from` at the beginning of a statement, in order, repetitions included.
// Relative imports name none. What looks like one inside a string counts, too.
std::vector<std::string_view> imported_modules(std::string_view source);

// Whether a Python file of the request imports a module that is neither of the standard library nor the request's own.
bool imports_packages(const RunRequest& request, const ModuleNames& standard);

// The entries of --preload ("json", "numpy?", "matplotlib.pyplot?") in two lists.
struct PreloadLists {
  std::vector<std::string> standard, packages;
};
PreloadLists divide_preload(const std::vector<std::string>& modules, const ModuleNames& standard);

}  // namespace coderunner
