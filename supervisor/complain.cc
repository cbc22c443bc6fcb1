// Role: see complain.h.
#include "supervisor/complain.h"

#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "common/sys.h"

namespace coderunner {
namespace {

constexpr Millis kPatience{100};  // once: after a line that was lost nobody waits

}  // namespace

void complain(std::string_view line) {
  static std::mutex one_at_a_time;
  static bool lost = false;
  constexpr std::string_view kBefore = "coderunner: ";
  // A pipe that polls as writable takes PIPE_BUF bytes without waiting (pipe(7)).
  std::string text = fmt::format("{}{}\n", kBefore, line.substr(0, PIPE_BUF - kBefore.size() - 1));
  std::replace(text.begin(), text.end() - 1, '\n', ' ');
  const std::lock_guard lock(one_at_a_time);
  pollfd entry{STDERR_FILENO, POLLOUT, 0};
  const auto ready = sys::poll({&entry, 1}, Deadline::in(lost ? Millis{0} : kPatience));
  lost = !ready || (entry.revents & POLLOUT) == 0;
  if (!lost) static_cast<void>(sys::write_some(STDERR_FILENO, text));  // nobody is left to tell when this fails
}

}  // namespace coderunner
