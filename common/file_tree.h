// Role: whole trees of files: removing one, measuring one.
// Callers: workdir.cc, pool_thread.cc and keeper.cc (removal), run_job.cc (the disk use of a running job at the reduced
// level).
// Law: never follows a symbolic link, never leaves the file system it began on; memory and descriptors stay bounded
// whatever the depth and width of the tree.
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "common/units.h"

namespace coderunner {

// Removes `name` in `parent` with all that is in it; nothing to do when it is not there. Directories that lost their
// permissions are given them back first. Entries may vanish meanwhile. What lies on another file system is an error,
// and so is a tree that is not gone at the deadline (someone keeps filling it).
Result<void> remove_tree(int parent, const std::string& name, Deadline deadline = Deadline::in(Millis(60'000)));

// The same by path; the folders above it are trusted.
Result<void> remove_tree(const std::string& path);

struct DiskUse {
  Bytes bytes = 0;           // allocated (st_blocks), so a sparse file counts what it takes; hard links count once
  std::uint64_t inodes = 0;  // entries below the directory, hard links once
  // False: the walk ended early (over a limit), met a directory of somebody else's, or one that was moved under its
  // feet; the numbers are then a lower bound.
  bool complete = true;
};

// What lies below `directory`, while others may change it. Stops as soon as either limit is exceeded. Directories whose
// owner has taken away permissions get them back: they can be filled without being readable.
// Not seen: files that are open but have no name any more (bounded by RLIMIT_FSIZE and RLIMIT_NOFILE).
// Cost: two system calls a directory, one a file: about 2 ms for 1,000 files; let ten times the walk pass in between.
Result<DiskUse> disk_use(int directory, Bytes stop_above_bytes, std::uint64_t stop_above_inodes);

}  // namespace coderunner
