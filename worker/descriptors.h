// Role: descriptors from one process to another over a Unix socket (unix(7), SCM_RIGHTS).
// Callers: template.cc hands a runner its ends; runner.cc hands its listener to the worker, sandbox.cc takes it.
#pragma once

#include <span>

#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

// One byte and copies of these, kMostDescriptors at most. Works under a script's filter, and allocates nothing.
inline constexpr std::size_t kMostDescriptors = 16;
Result<void> send_descriptors(int socket, char word, std::span<const int> descriptors);

// The one descriptor that was sent; an error when there is none, or none yet.
Result<UniqueFd> receive_descriptor(int socket);

}  // namespace coderunner
