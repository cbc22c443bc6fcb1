// Role: the removal, level by level.
// Callers: see remove_tree.h.
#include "supervisor/remove_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "common/sys.h"

namespace coderunner {

namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

// Opens a subdirectory for listing. A job may have taken its own permissions away; they are its owner's to restore,
// and as root nothing is missing, so root never changes a mode here.
Result<UniqueFd> open_directory(int parent, const std::string& name) {
  auto directory = sys::open_at(parent, name, kDirectory);
  if (directory || sys::last_errno() != EACCES) return directory;
  const UniqueFd handle = TRY(sys::open_at(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  // fchmod(2) refuses an O_PATH descriptor; its magic link names exactly this directory and no other.
  const std::string link = fmt::format("/proc/self/fd/{}", handle.get());
  TRY(sys::retry("chmod", [&] { return ::chmod(link.c_str(), 0700); }));
  return sys::open_at(parent, name, kDirectory);
}

Result<std::vector<std::string>> list_names(int directory) {
  // fdopendir takes its descriptor over, so it gets one of its own, whose offset begins at the start.
  UniqueFd own = TRY(sys::open_at(directory, ".", kDirectory));
  DIR* stream = ::fdopendir(own.get());
  if (stream == nullptr) return std::unexpected(sys::last_error("fdopendir"));
  static_cast<void>(own.release());
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(stream);
  return names;
}

// True when the entry is gone, false when it is a directory.
Result<bool> unlink_entry(int directory, const std::string& name) {
  if (::unlinkat(directory, name.c_str(), 0) == 0) return true;
  if (sys::last_errno() == EISDIR) return false;
  return std::unexpected(sys::last_error(fmt::format("unlinkat(\"{}\")", name)));
}

// Moves an entry of `from` into `top` under a name that the job has not happened to use.
Result<void> move_up(int from, const std::string& name, int top, std::size_t& serial) {
  for (;;) {
    const std::string free = fmt::format(".removing-{}", serial++);
    if (::renameat2(from, name.c_str(), top, free.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (sys::last_errno() != EEXIST) return std::unexpected(sys::last_error("renameat2"));
  }
}

// Empties a subdirectory of `top`: its files go, its own subdirectories move up into `top`, where the next pass finds
// them. So no path ever gets longer than two names.
Result<void> flatten(int top, const std::string& name, std::size_t& serial) {
  const UniqueFd directory = TRY(open_directory(top, name));
  TRY(sys::retry("fchmod", [&] { return ::fchmod(directory.get(), 0700); }));
  for (const std::string& entry : TRY(list_names(directory.get()))) {
    if (TRY(unlink_entry(directory.get(), entry))) continue;
    // Moving a directory writes its "..", which takes write permission on it.
    const UniqueFd below = TRY(open_directory(directory.get(), entry));
    TRY(sys::retry("fchmod", [&] { return ::fchmod(below.get(), 0700); }));
    TRY(move_up(directory.get(), entry, top, serial));
  }
  TRY(sys::retry("unlinkat", [&] { return ::unlinkat(top, name.c_str(), AT_REMOVEDIR); }));
  return {};
}

}  // namespace

Result<void> remove_tree(const std::string& path) {
  auto top = open_directory(AT_FDCWD, path);
  if (!top) {
    if (sys::last_errno() == ENOENT) return {};
    return std::unexpected(top.error());
  }
  TRY(sys::retry("fchmod", [&] { return ::fchmod(top->get(), 0700); }));
  std::size_t serial = 0;
  for (;;) {
    const std::vector<std::string> names = TRY(list_names(top->get()));
    if (names.empty()) break;
    for (const std::string& name : names) {
      if (!TRY(unlink_entry(top->get(), name))) TRY(flatten(top->get(), name, serial));
    }
  }
  TRY(sys::retry("rmdir", [&] { return ::rmdir(path.c_str()); }));
  return {};
}

}  // namespace coderunner
