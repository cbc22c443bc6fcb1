// Role: the cgroup directories of the workers, made while this process may still make them.
// Callers: launch.cc makes them, keeper.cc removes them.
// Law: whatever is missing (a hierarchy, a controller, the right to write) is a reason for the log and a weaker memory
// limit, never a failure of the service.
//
//   v1, for each of memory and pids    <own group>/coderunner-<pid>/w<index>
//   v2                                 <own group>/coderunner-<pid>/supervisor   this process
//                                      <own group>/coderunner-<pid>/w<index>
//
// v2 asks for this shape twice. A group that hands controllers down may hold no process itself (cgroups(7), "no
// internal processes"), so this process moves out of its own group. And a process may move only where it may write
// the cgroup.procs of the nearest group above both places (cgroup-v2.rst, "Delegation Containment"), so the workers'
// groups and the one they are born in are siblings below a directory that the service's user owns.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "supervisor/drop_user.h"

namespace coderunner {

// Where the kernel tells about cgroups; parameters so that tests can play a kernel.
struct CgroupWorld {
  std::string mountinfo = "/proc/self/mountinfo";
  std::string membership = "/proc/self/cgroup";
  pid_t pid = 0;                                  // of the service
  std::function<bool(pid_t)> lives;               // whether a process exists
  // mkdir(2) and rmdir(2): with a directory the kernel makes and removes its control files, so must a player.
  std::function<Result<void>(const std::string& path)> make_directory;
  std::function<Result<void>(const std::string& path)> remove_directory;
};
CgroupWorld real_cgroups();

struct CgroupTree {
  std::vector<std::vector<std::string>> worker_dirs;  // one entry a worker, one directory a hierarchy; or empty
  std::vector<std::string> made;                      // every directory, parents first
  std::string v2_base;                                // <own group>/coderunner-<pid> of v2, or empty
  std::string v2_handed_down;                         // what was enabled in v2 for the tree: "memory pids"
  std::vector<std::string> notes;                     // what is missing, why, and the cure
};

// `account` becomes the owner of everything a worker has to write.
CgroupTree make_cgroup_tree(const CgroupWorld& world, std::size_t workers, const Account& account);

// Kills whatever is left in the workers' groups, moves the service and the caller back to where they came from, and
// removes all that was made. False when something stays: a killed process may take a moment to be gone.
bool remove_cgroup_tree(const CgroupWorld& world, const CgroupTree& tree);

}  // namespace coderunner
