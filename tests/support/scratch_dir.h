// Role: a directory of a test's own, and quick ways to fill it with what a hostile script would leave.
// Callers: tests of the worker.
// Law: gone with everything in it when its owner is. What can not be made throws: the test would prove nothing.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/unique_fd.h"

namespace coderunner::test {

// kDisk: under $TMPDIR or /tmp. kMemory: under /dev/shm, for trees whose making would take a slow disk minutes.
enum class Place { kDisk, kMemory };

class ScratchDir {
 public:
  explicit ScratchDir(Place place = Place::kDisk);  // 0700
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Names below are relative to the directory.
  void make_dir(const std::string& name, mode_t mode = 0700) const;
  void make_file(const std::string& name, std::string_view content, mode_t mode = 0600) const;
  void make_sparse(const std::string& name, off_t bytes) const;
  void make_link(const std::string& target, const std::string& name) const;  // symbolic
  void make_hard_link(const std::string& from, const std::string& name) const;
  void make_fifo(const std::string& name) const;
  void make_socket(const std::string& name) const;
  // `levels` directories "d", each in the one before; `leaf` is a file in the last, or empty.
  void make_chain(const std::string& name, int levels, const std::string& leaf) const;
  void set_mode(const std::string& name, mode_t mode) const;
  [[nodiscard]] bool exists(const std::string& name) const;  // without following
  [[nodiscard]] mode_t mode(const std::string& name) const;  // type and permissions, without following
  [[nodiscard]] std::string content(const std::string& name) const;

 private:
  std::string path_;
  UniqueFd fd_;
};

// File names that break careless code: quotes, newlines, bytes that are not UTF-8, 255 bytes, "-rf", …
extern const std::string kHostileNames[9];

}  // namespace coderunner::test
