// Role: see layer_cures.h.
// Sources: user_namespaces(7); Debian's kernel.unprivileged_userns_clone; Ubuntu 24.04's release notes, "Unprivileged
// user namespace restrictions"; docker-run(1), --security-opt; systemd.resource-control(5), Delegate=.
#include "supervisor/layer_cures.h"

#include <fmt/format.h>

#include "common/sys.h"

namespace coderunner {

namespace {

struct Switch {
  std::string_view file;   // below /proc/sys/
  std::string_view value;  // that denies
  std::string_view name;   // for sysctl(8)
  std::string_view cure;
};

constexpr Switch kNamespaceSwitches[] = {
    {"user/max_user_namespaces", "0", "user.max_user_namespaces", "sysctl -w user.max_user_namespaces=15000"},
    {"kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone",
     "sysctl -w kernel.unprivileged_userns_clone=1"},
    {"kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns",
     "load scripts/apparmor-profile"},
};

std::string first_line(const std::string& path) {
  const auto text = sys::read_file(path);
  return text ? text->substr(0, text->find('\n')) : "";
}

bool has(std::string_view text, std::string_view piece) { return text.find(piece) != text.npos; }

// Whether this process itself was started under a filter, as in a container (proc(5), Seccomp: 2).
bool under_filter(const MachineFacts& machine) {
  const auto status = sys::read_file(machine.proc + "/self/status");
  return status && has(*status, "\nSeccomp:\t2\n");
}

void explain_namespaces(LayerReport& layer, const MachineFacts& machine) {
  if (has(layer.means, "--sandbox=reduced")) {
    layer.cure = "leave --sandbox=reduced out";
    return;
  }
  for (const Switch& row : kNamespaceSwitches) {
    if (first_line(fmt::format("{}/sys/{}", machine.proc, row.file)) != row.value) continue;
    layer.found = fmt::format("user namespaces: denied by {}={}", row.name, row.value);
    layer.cure = row.cure;
    return;
  }
  if (has(layer.means, "mount(proc)")) {
    layer.found = "parts of /proc are hidden, as containers do, so a job can have none of its own: " + layer.means;
    layer.cure = "start the container with --security-opt systempaths=unconfined";
  } else if (has(layer.means, "EPERM") && under_filter(machine)) {
    layer.found = "refused by the system-call filter that the service was started under: " + layer.means;
    layer.cure = "start the container with --security-opt seccomp=unconfined";
  }
}

}  // namespace

void explain_layer(LayerReport& layer, const MachineFacts& machine) {
  const bool missing = layer.status == LayerStatus::kMissing;
  if (missing && layer.name == "namespaces") explain_namespaces(layer, machine);
  if (missing && layer.name == "files") layer.cure = "Linux 5.13 or later with landlock in lsm= of its command line";
  if (!missing && layer.name == "memory" && has(layer.means, "watched"))
    layer.cure = "a memory cgroup: start as root, or as a systemd service with Delegate=yes";
}

}  // namespace coderunner
