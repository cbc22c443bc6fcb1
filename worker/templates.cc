// Role: see templates.h.
#include "worker/templates.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace coderunner {

Templates::Templates(const Jail& jail)
    : wanted_(jail.setup.runner == RunnerMode::kWarm && jail.can_be_warm()), standard_(jail, TemplateKind::kStandard),
      packages_(jail, TemplateKind::kPackages),
      second_due_(!jail.setup.preload_packages.empty()),
      expected_(second_due_ ? TemplateKind::kPackages : TemplateKind::kStandard) {}

WarmUp* Templates::best(TemplateKind kind) {
  const bool standard = standard_.ready() != nullptr;
  if (standard && std::exchange(second_due_, false)) packages_.want();
  const bool packages = packages_.ready() != nullptr;
  if (packages && (kind == TemplateKind::kPackages || !standard)) return &packages_;
  return standard ? &standard_ : nullptr;
}

WarmUp* Templates::with_packages() {
  WarmUp* found = best(TemplateKind::kPackages);
  return found == &packages_ ? found : nullptr;
}

TemplateCounts Templates::counts() const {
  const TemplateCounts &a = standard_.counts(), &b = packages_.counts();
  return {a.births + b.births, a.losses + b.losses, a.forks + b.forks};
}

std::vector<pid_t> Templates::sessions() const {
  std::vector<pid_t> living = {standard_.session(), packages_.session()};
  std::erase(living, 0);
  return living;
}

TemplateSessions Templates::all_sessions() const {
  TemplateSessions all{sessions(), standard_.ended()};
  std::ranges::copy(packages_.ended(), std::back_inserter(all.others));
  return all;
}

}  // namespace coderunner
