// Role: see warm_up.h.
#include "worker/warm_up.h"

#include <cstdio>

#include <fmt/format.h>

namespace coderunner {

WarmUp::WarmUp(const Jail& jail) : jail_(jail) {
  if (jail.setup.runner == RunnerMode::kWarm && jail.full()) start();
}

void WarmUp::start() {
  ready_ = false;
  if (template_) ended_.push_back(template_->pid());
  template_.reset();
  if (failures_ >= kMaxFailures) return;
  auto started = Template::start(jail_);
  if (!started) return lost(started.error());
  template_ = std::make_unique<Template>(std::move(*started));
  renewal_ = Deadline::in(kRenewAfter);
}

Template* WarmUp::ready() {
  if (!template_) return nullptr;
  if (ready_ && renewal_.passed()) start();
  if (ready_) return template_.get();
  const auto told = template_->ready();
  if (!told) {
    lost(told.error());
    return nullptr;
  }
  if (!*told) return nullptr;
  ready_ = true;
  if (!template_->missing_modules().empty())
    std::fputs(fmt::format("coderunner-worker: not preloaded, the import fails: {}\n", template_->missing_modules()).c_str(), stderr);
  return template_.get();
}

void WarmUp::lost(const Error& why) {
  std::fputs(fmt::format("coderunner-worker: template lost: {}\n", why.message).c_str(), stderr);
  ++failures_;
  start();
}

}  // namespace coderunner
