// Role: directories as the kernel gives them: entries in bounded pieces, opening one name without following anything.
// Callers: file_tree.cc, workdir.cc, artifacts.cc; process_tree.cc for /proc.
// Law: a name is bytes of any kind but '/' and NUL; nothing here follows a symbolic link or goes by an absolute path.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_fd.h"

namespace coderunner {

// Entries of an open directory, a buffer at a time, so that 100,000 names cost no more memory than ten.
class DirectoryReader {
 public:
  struct Entry {
    std::string_view name;   // NUL-terminated; valid until the next call
    unsigned char type = 0;  // DT_REG, DT_DIR, …; DT_UNKNOWN where the file system does not say (getdents(2))
  };

  explicit DirectoryReader(int directory) : fd_(directory) {}  // borrowed; read from where its offset stands

  // The next entry but "." and ".."; nullopt at the end, also of a directory that has been removed meanwhile.
  Result<std::optional<Entry>> next();
  Result<void> rewind();

 private:
  int fd_;
  std::size_t at_ = 0;
  std::size_t filled_ = 0;
  alignas(8) std::array<char, 16 * 1024> buffer_;
};

// fstatat(2) of the name itself, not of what it points to; nullopt when it is not there.
Result<std::optional<struct stat>> stat_entry(int parent, const std::string& name);
Result<struct stat> stat_open(int fd);

// Opens the directory `name`. nullopt when it is not there or not a directory (a symbolic link is none).
Result<std::optional<UniqueFd>> open_directory(int parent, const std::string& name);
// The same for a directory of our own that has lost permissions: gives its owner back rwx first. Only for a tree that
// nobody else changes any more: chmod goes by name (Linux before 6.6 has no fchmodat(2) that refuses symbolic links).
Result<std::optional<UniqueFd>> reclaim_directory(int parent, const std::string& name);

// The same for what is open already, and so for nothing but itself, whatever happens to its name.
Result<void> reclaim_open(int directory);
// Opens the directory `name` of our own in a tree that is being changed by others at this moment, and reclaims it.
// nullopt when it is not there or not a directory.
Result<std::optional<UniqueFd>> reclaim_in_use(int parent, const std::string& name);

// A name of any bytes for a message of one line: quoted, what is not printable ASCII as \xNN, cut after 80 bytes.
std::string quoted_name(std::string_view name);

}  // namespace coderunner
