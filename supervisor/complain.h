// Role: the service's own errors, a line each on standard error.
// Callers: whoever has one that no answer carries.
// Law: nobody waits for whoever should read them: lines are lost rather than requests held up.
#pragma once

#include <string_view>

namespace coderunner {

// From any thread. At most PIPE_BUF bytes of the line are written.
void complain(std::string_view line);

}  // namespace coderunner
