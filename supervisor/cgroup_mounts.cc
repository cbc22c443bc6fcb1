// Role: the two texts, line by line.
// Callers: see cgroup_mounts.h.
#include "supervisor/cgroup_mounts.h"

#include <algorithm>
#include <vector>

namespace coderunner {

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool lists(std::string_view items, std::string_view item) {
  const auto parts = split(items, ',');
  return std::ranges::find(parts, item) != parts.end();
}

// proc(5): space, tab, newline and backslash are written as octal escapes.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

struct Mount {
  std::string root;   // the group that is seen at `point`
  std::string point;
};

// `31 23 0:28 ROOT POINT options [optional fields] - TYPE source super-options`
std::optional<Mount> find_mount(std::string_view mountinfo, std::string_view v1_controller) {
  for (const std::string_view line : split(mountinfo, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto left = split(line.substr(0, dash), ' ');
    const auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.empty()) continue;
    const bool wanted = v1_controller.empty() ? right[0] == "cgroup2"
                                              : right[0] == "cgroup" && lists(right.back(), v1_controller);
    if (wanted) return Mount{unescape(left[3]), unescape(left[4])};
  }
  return std::nullopt;
}

// `4:memory:/path`, for v2 `0::/path`
std::optional<std::string> find_path(std::string_view membership, std::string_view v1_controller) {
  for (const std::string_view line : split(membership, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (v1_controller.empty() ? line.substr(0, first) == "0" : lists(controllers, v1_controller)) {
      return std::string(line.substr(second + 1));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> own_group(std::string_view mountinfo, std::string_view membership,
                                     std::string_view v1_controller) {
  const auto mount = find_mount(mountinfo, v1_controller);
  const auto path = find_path(membership, v1_controller);
  if (!mount || !path) return std::nullopt;
  // The path is as seen from the root of the cgroup namespace, the mount shows what is below its own root; in a
  // container without a cgroup namespace both begin with the container's group.
  std::string_view below = *path;
  if (mount->root != "/") {
    if (!below.starts_with(mount->root)) return mount->point;
    below.remove_prefix(mount->root.size());
  }
  if (below == "/" || below.empty() || below.starts_with("/..")) return mount->point;
  return mount->point + std::string(below);
}

}  // namespace coderunner
