// Role: keeps one warm template at hand: starts it, notices when it is ready, when it is lost, when it is old.
// Callers: templates.h has one of each kind.
// Law: a job never waits for imports: while there is no template that is ready, sandboxes are parked without one.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/units.h"
#include "worker/template.h"

namespace coderunner {

class WarmUp {
 public:
  WarmUp(const Jail& jail, TemplateKind kind) : jail_(jail), kind_(kind) {}

  // From now on it keeps one. Starts the first.
  void want();
  [[nodiscard]] TemplateKind kind() const { return kind_; }

  // The template when it is ready now, else null. Starts another one when that is due.
  Template* ready();
  // What ready() has just answered.
  [[nodiscard]] Template* held() const { return template_.get(); }
  // Readable when ready() may have news: a template is ready, or has ended. -1 when there is nothing to wait for.
  [[nodiscard]] int news_fd() const { return template_ ? template_->control_fd() : -1; }
  // When ready() has something to do without any news: the next attempt after failures.
  [[nodiscard]] Deadline next_attempt() const { return wanted_ && !template_ ? next_attempt_ : Deadline::never(); }
  // A runner came from it, or could not be had: then another template takes its place.
  void proved() {
    failures_ = 0;
    ++counts_.forks;
  }
  void lost(const Error& why);
  [[nodiscard]] const TemplateCounts& counts() const { return counts_; }

  // The session of the template that lives now, 0: none.
  [[nodiscard]] pid_t session() const { return template_ ? template_->pid() : 0; }
  // Those of templates of the past: one an hour, and a few that failed.
  [[nodiscard]] const std::vector<pid_t>& ended() const { return ended_; }

 private:
  // Hash seeds and address layout are a template's own, so it does not live for ever.
  static constexpr Millis kRenewAfter{3600 * 1000};
  // What fails so often in a row will most likely fail the next time: then runners are started without, and a template
  // is tried again only after a pause, which doubles with each failure.
  static constexpr int kQuickFailures = 3;
  static constexpr Millis kFirstPause{60 * 1000}, kLongestPause{3600 * 1000};

  void start();
  void drop();

  const Jail& jail_;
  const TemplateKind kind_;
  std::unique_ptr<Template> template_;
  TemplateCounts counts_;
  std::vector<pid_t> ended_;
  bool wanted_ = false, ready_ = false;
  int failures_ = 0;  // in a row
  Millis pause_ = kFirstPause;
  Deadline next_attempt_ = Deadline::never(), renewal_ = Deadline::never();
};

}  // namespace coderunner
