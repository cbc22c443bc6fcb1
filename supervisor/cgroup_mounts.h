// Role: where cgroup hierarchies are mounted and which group of each this process is in.
// Callers: cgroup_tree.cc.
// Law: pure functions over the texts of /proc/self/mountinfo (proc(5)) and /proc/self/cgroup (cgroups(7)).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace coderunner {

// The directory of this process's own group in the v1 hierarchy of that controller, or in v2 when it is empty.
// nullopt: not mounted, or not a member.
std::optional<std::string> own_group(std::string_view mountinfo, std::string_view membership,
                                     std::string_view v1_controller);

}  // namespace coderunner
