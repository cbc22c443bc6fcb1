// Role: getdents64(2), openat(2), fstatat(2) for one directory. See directory.h.
#include "common/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>

#include "common/sys.h"

namespace coderunner {
namespace {

constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

Error call_error(std::string_view call, std::string_view name) {
  const Error error = sys::last_error("");  // first: formatting may touch errno
  return Error{error.fault, fmt::format("{}({}){}", call, quoted_name(name), error.message)};
}

// O_NOFOLLOW | O_DIRECTORY on a symbolic link: ENOTDIR; without O_DIRECTORY it would be ELOOP (open(2)).
bool not_a_directory(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

}  // namespace

Result<std::optional<DirectoryReader::Entry>> DirectoryReader::next() {
  for (;;) {
    if (at_ == filled_) {
      const ssize_t got = ::getdents64(fd_, buffer_.data(), buffer_.size());
      if (got < 0 && sys::last_errno() != ENOENT) return std::unexpected(sys::last_error("getdents64"));
      if (got <= 0) return std::nullopt;
      at_ = 0;
      filled_ = static_cast<std::size_t>(got);
    }
    const auto* record = reinterpret_cast<const dirent64*>(buffer_.data() + at_);
    at_ += record->d_reclen;
    const std::string_view name(record->d_name);
    if (name != "." && name != "..") return Entry{name, record->d_type};
  }
}

Result<void> DirectoryReader::rewind() {
  at_ = filled_ = 0;
  if (::lseek(fd_, 0, SEEK_SET) < 0) return std::unexpected(sys::last_error("lseek(directory)"));
  return {};
}

Result<std::optional<struct stat>> stat_entry(int parent, const std::string& name) {
  struct stat found{};
  if (::fstatat(parent, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) return found;
  if (sys::last_errno() == ENOENT) return std::nullopt;
  return std::unexpected(call_error("fstatat", name));
}

Result<struct stat> stat_open(int fd) {
  struct stat found{};
  if (::fstat(fd, &found) != 0) return std::unexpected(sys::last_error("fstat"));
  return found;
}

Result<std::optional<UniqueFd>> open_directory(int parent, const std::string& name) {
  const int fd = ::openat(parent, name.c_str(), kOpenDirectory);
  if (fd >= 0) return UniqueFd(fd);
  if (not_a_directory(sys::last_errno())) return std::nullopt;
  return std::unexpected(call_error("openat", name));
}

Result<std::optional<UniqueFd>> reclaim_directory(int parent, const std::string& name) {
  const std::optional<struct stat> before = TRY(stat_entry(parent, name));
  if (!before || !S_ISDIR(before->st_mode)) return std::nullopt;
  if ((before->st_mode & S_IRWXU) != S_IRWXU && ::fchmodat(parent, name.c_str(), S_IRWXU, 0) != 0) {
    if (sys::last_errno() == ENOENT) return std::nullopt;
    return std::unexpected(call_error("fchmodat", name));
  }
  return open_directory(parent, name);
}

Result<void> reclaim_open(int directory) {
  if ((TRY(stat_open(directory)).st_mode & S_IRWXU) == S_IRWXU) return {};
  TRY(sys::retry("fchmod", [&] { return ::fchmod(directory, S_IRWXU); }));
  return {};
}

Result<std::optional<UniqueFd>> reclaim_in_use(int parent, const std::string& name) {
  // A descriptor for the place alone needs no permission on it, and its path in /proc leads to nothing else
  // (open(2), O_PATH).
  const UniqueFd place(::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!place.valid()) {
    if (not_a_directory(sys::last_errno())) return std::nullopt;
    return std::unexpected(call_error("openat", name));
  }
  const std::string path = fmt::format("/proc/self/fd/{}", place.get());
  if ((TRY(stat_open(place.get())).st_mode & S_IRWXU) != S_IRWXU)
    TRY(sys::retry("chmod", [&] { return ::chmod(path.c_str(), S_IRWXU); }));
  return TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
}

std::string quoted_name(std::string_view name) {
  constexpr std::size_t kShown = 80;
  std::string out = "\"";
  for (const char c : name.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (name.size() > kShown ? "\"..." : "\"");
}

}  // namespace coderunner
