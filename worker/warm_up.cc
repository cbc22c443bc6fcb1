// Role: see warm_up.h.
#include "worker/warm_up.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "worker/workdir.h"

namespace coderunner {

WarmUp::WarmUp(const Jail& jail) : jail_(jail), wanted_(jail.setup.runner == RunnerMode::kWarm && jail.can_be_warm()) {
  if (wanted_) start();
}

void WarmUp::drop() {
  if (!template_) return;
  ended_.push_back(template_->pid());
  const JobFolder folder = template_->plan().folder;
  template_.reset();
  // Once it has been ready, a sandbox has the folder, and removes it.
  if (!ready_ && !jail_.full()) (void)remove_reduced(folder);
  ready_ = false;
}

void WarmUp::start() {
  drop();
  auto started = Template::start(jail_, fmt::format("warm-{}", ++starts_));
  if (!started) return lost(started.error());
  template_ = std::make_unique<Template>(std::move(*started));
  renewal_ = Deadline::in(kRenewAfter);
}

Template* WarmUp::ready() {
  if (!wanted_) return nullptr;
  if (template_ ? ready_ && renewal_.passed() : next_attempt_.passed()) start();
  if (!template_) return nullptr;
  const auto told = template_->ready();
  if (!told) {
    lost(told.error());
    return nullptr;
  }
  if (!*told) return nullptr;
  if (!std::exchange(ready_, true) && !template_->missing_modules().empty())
    std::fputs(fmt::format("coderunner-worker: not preloaded, the import fails: {}\n", template_->missing_modules()).c_str(), stderr);
  return template_.get();
}

void WarmUp::lost(const Error& why) {
  std::fputs(fmt::format("coderunner-worker: template lost: {}\n", why.message).c_str(), stderr);
  drop();
  if (++failures_ < kQuickFailures) return start();
  if (failures_ == kQuickFailures) pause_ = kFirstPause;
  next_attempt_ = Deadline::in(pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace coderunner
