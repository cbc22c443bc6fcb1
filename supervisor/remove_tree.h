// Role: removes what a job left in a directory, whatever the job did to it.
// Callers: pool.cc (a dead worker's directory), keeper.cc (the service's).
// Law: follows no symbolic link, needs a fixed number of descriptors however deep the tree is.
#pragma once

#include <string>

#include "common/result.h"

namespace coderunner {

// The directory and all below it. A directory that does not exist is no error.
Result<void> remove_tree(const std::string& path);

}  // namespace coderunner
