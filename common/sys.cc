// Role: the one reader of errno, and the calls that need its answer.
// Callers: see sys.h.
// Law: errno is copied before anything else runs, since formatting a message allocates and may change it.
#include "common/sys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/text.h"

namespace coderunner::sys {

namespace {

constexpr std::size_t kReadChunk = 64 * 1024;  // the capacity of a pipe (pipe(7)): one read empties it

Error error_of(int code, std::string_view what) {
  const char* name = strerrorname_np(code);  // glibc 2.32; null for a number it does not know
  if (name == nullptr) return Error{Fault::kInternal, fmt::format("{}: errno {}", what, code)};
  return Error{Fault::kInternal, fmt::format("{}: {}", what, name)};
}

// `openat("input/a.csv")`. A path is any bytes; a message is one line of UTF-8.
std::string call_on(std::string_view call, std::string_view path) {
  return fmt::format("{}({})", call, json_quote(decode_utf8_replace(path)));
}

Result<std::string> read_to_end(int fd, std::size_t limit, std::string_view what) {
  std::string all;
  std::array<char, kReadChunk> chunk;
  for (;;) {
    const long count = TRY(retry(what, [&] { return ::read(fd, chunk.data(), chunk.size()); }));
    if (count == 0) return all;
    if (static_cast<std::size_t>(count) > limit - all.size()) {
      return fail(Fault::kInternal, fmt::format("{}: more than {} bytes", what, limit));
    }
    all.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Error last_error(std::string_view what) { return error_of(errno, what); }
bool interrupted() { return errno == EINTR; }
bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }
int last_errno() { return errno; }

Result<UniqueFd> open_at(int directory, const std::string& path, int flags, mode_t mode) {
  int fd = -1;
  do fd = ::openat(directory, path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode);
  while (fd == -1 && interrupted());
  if (fd == -1) {
    const int code = errno;
    return std::unexpected(error_of(code, call_on("openat", path)));
  }
  return UniqueFd(fd);
}

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) { return open_at(AT_FDCWD, path, flags, mode); }

Result<Pipe> make_pipe() {
  int ends[2];
  TRY(retry("pipe2", [&] { return ::pipe2(ends, O_CLOEXEC); }));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<Pipe> make_socket_pair() {
  int ends[2];
  TRY(retry("socketpair", [&] { return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends); }));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<void> set_nonblocking(int fd, bool on) {
  const int old_flags = static_cast<int>(TRY(retry("fcntl(F_GETFL)", [&] { return ::fcntl(fd, F_GETFL); })));
  const int new_flags = on ? old_flags | O_NONBLOCK : old_flags & ~O_NONBLOCK;
  if (new_flags != old_flags) TRY(retry("fcntl(F_SETFL)", [&] { return ::fcntl(fd, F_SETFL, new_flags); }));
  return {};
}

Result<std::optional<std::size_t>> read_some(int fd, std::span<char> into) {
  ssize_t count = -1;
  do count = ::read(fd, into.data(), into.size());
  while (count == -1 && interrupted());
  if (count >= 0) return static_cast<std::size_t>(count);
  if (would_block()) return std::nullopt;
  return std::unexpected(last_error("read"));
}

Result<std::optional<std::size_t>> write_some(int fd, std::string_view bytes) {
  ssize_t count = -1;
  do count = ::write(fd, bytes.data(), bytes.size());
  while (count == -1 && interrupted());
  if (count >= 0) return static_cast<std::size_t>(count);
  if (would_block()) return std::nullopt;
  return std::unexpected(last_error("write"));
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const long count = TRY(retry("write", [&] { return ::write(fd, bytes.data(), bytes.size()); }));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::string> read_all(int fd, std::size_t limit) { return read_to_end(fd, limit, "read"); }

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd file = TRY(open(path, O_RDONLY));
  return read_to_end(file.get(), limit, call_on("read", path));
}

// O_TRUNC as a shell's `>` has it: the files of /proc and cgroups take no notice, a plain file keeps no old tail.
// One write(2), because those files take a value in one call or not at all (user_namespaces(7), cgroups(7)).
Result<void> write_file(const std::string& path, std::string_view text) {
  const UniqueFd file = TRY(open(path, O_WRONLY | O_TRUNC));
  const std::string what = call_on("write", path);
  const long count = TRY(retry(what, [&] { return ::write(file.get(), text.data(), text.size()); }));
  if (static_cast<std::size_t>(count) != text.size()) {
    return fail(Fault::kInternal, fmt::format("{}: {} of {} bytes written", what, count, text.size()));
  }
  return {};
}

Result<int> poll(std::span<pollfd> entries, Deadline deadline) {
  for (;;) {
    // The time left is asked anew each time: neither a signal nor the day that poll_timeout() cuts at moves the end.
    const int count = ::poll(entries.data(), entries.size(), deadline.poll_timeout());
    if (count > 0) return count;
    if (count == 0 && deadline.passed()) return 0;
    if (count == -1 && !interrupted()) return std::unexpected(last_error("poll"));
  }
}

}  // namespace coderunner::sys
