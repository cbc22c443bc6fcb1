// Role: system calls as Results. errno is read in sys.cc and nowhere else.
// Callers: everything that talks to the kernel.
// Law: EINTR is retried, descriptors are close-on-exec, an error names the call and errno: `openat("a.csv"): EACCES`.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"
#include "common/units.h"

struct pollfd;

namespace coderunner::sys {

// The error of the call that has just failed, as `what: ENAME`. Fault::kInternal.
Error last_error(std::string_view what);
bool interrupted();    // the last call failed with EINTR
bool would_block();    // the last call failed with EAGAIN
int last_errno();      // for a caller that has to tell causes apart (EPERM from ENOSYS, say)

// Runs a call that answers -1 on failure until it is not interrupted; its value, or the named error.
template <class Call>
Result<long> retry(std::string_view what, Call&& call) {
  long value = -1;
  do value = static_cast<long>(call());
  while (value == -1 && interrupted());
  if (value == -1) return std::unexpected(last_error(what));
  return value;
}

// openat(2) with O_CLOEXEC | O_NOCTTY added.
Result<UniqueFd> open_at(int directory, const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0);
Result<Pipe> make_pipe();                 // O_CLOEXEC, blocking
Result<Pipe> make_socket_pair();          // AF_UNIX, SOCK_STREAM, O_CLOEXEC, blocking; .read and .write are the
                                          // two ends
Result<void> set_nonblocking(int fd, bool on);

// One read(2) or write(2). nullopt: it would block. read: 0 is the end of the file.
Result<std::optional<std::size_t>> read_some(int fd, std::span<char> into);
Result<std::optional<std::size_t>> write_some(int fd, std::string_view bytes);  // a socket's EPIPE comes as an error,
                                                                                // never as SIGPIPE when that is ignored

Result<void> write_all(int fd, std::string_view bytes);             // blocking descriptor
Result<std::string> read_all(int fd, std::size_t limit);            // to the end of the file; error above `limit`
Result<std::string> read_file(const std::string& path, std::size_t limit = 1 << 20);
Result<void> write_file(const std::string& path, std::string_view text);  // an existing file, as for /proc and
                                                                          // cgroup files

// poll(2) until the deadline; the number of ready entries, 0 when it has passed.
Result<int> poll(std::span<pollfd> entries, Deadline deadline);

}  // namespace coderunner::sys
