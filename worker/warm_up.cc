// Role: see warm_up.h.
#include "worker/warm_up.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "worker/workdir.h"

namespace coderunner {

void WarmUp::want() {
  if (!std::exchange(wanted_, true)) start();
}

void WarmUp::drop() {
  if (!template_) return;
  ended_.push_back(template_->pid());
  const JobFolder folder = template_->plan().folder;
  template_.reset();
  jail_.pins(kind_).release();
  // Since it has been ready the folder is that of its runners' jobs.
  if (!std::exchange(ready_, false) && !jail_.full()) (void)remove_reduced(folder);
}

void WarmUp::start() {
  drop();
  const std::string name = fmt::format("{}-{}", template_name(kind_), ++counts_.births);
  auto started = Template::start(jail_, kind_, name);
  if (!started) {
    if (JobFolder folder = jail_.plan.folder; !jail_.full()) {
      folder.name = name;
      (void)remove_reduced(folder);
    }
    return lost(started.error());
  }
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
  if (template_->needless()) {
    wanted_ = false;
    drop();
    return nullptr;
  }
  if (!*told) return nullptr;
  if (!std::exchange(ready_, true)) {
    if (!jail_.full()) (void)remove_reduced(template_->plan().folder);
    if (!template_->missing_modules().empty())
      std::fputs(fmt::format("coderunner-worker: not preloaded, the import fails: {}\n",
                             template_->missing_modules()).c_str(), stderr);
  }
  return template_.get();
}

void WarmUp::lost(const Error& why) {
  std::fputs(fmt::format("coderunner-worker: template lost: {}\n", why.message).c_str(), stderr);
  ++counts_.losses;
  drop();
  if (++failures_ < kQuickFailures) return start();
  if (failures_ == kQuickFailures) pause_ = kFirstPause;
  next_attempt_ = Deadline::in(pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace coderunner
