// Role: the tiny process that cleans up after the service, however the service ends: it keeps the rights that the
// service gives up, and it outlives a SIGKILL of it.
// Callers: launch.cc.
// Law: forked before threads exist. It reads nothing but the end of a pipe, so nobody can ask anything of it.
#pragma once

#include <span>
#include <string>

#include "common/child.h"
#include "common/result.h"
#include "supervisor/cgroup_tree.h"

namespace coderunner {

struct KeeperDuties {
  CgroupTree cgroups;
  std::string temp_dir;
};

class Keeper {
 public:
  // `title_area`: the memory of this process's arguments, for ps; or empty.
  static Result<Keeper> start(KeeperDuties duties, std::span<char> title_area);
  Keeper(Keeper&&) = default;
  Keeper& operator=(Keeper&&) = default;
  ~Keeper() { finish(); }

  [[nodiscard]] const Child& child() const { return child_; }

 private:
  Keeper(Child child, UniqueFd lifeline) : child_(std::move(child)), lifeline_(std::move(lifeline)) {}
  void finish();  // tells it to do its duty and waits for it
  Child child_;
  UniqueFd lifeline_;  // the write end; closed when the service ends, by whatever cause
};

}  // namespace coderunner
