// Role: the worker's warm templates, one with the standard library's modules imported and one with packages besides;
// and which of them the next runner should come from.
// Callers: main.cc asks before it parks a sandbox, and tells what its jobs want.
// Law: to fork from the larger one costs more than twice as much, and to import what is missing fifty times. So a
// sandbox is parked for a job like the last one, and a job that wants packages gets another sandbox if need be.
#pragma once

#include <array>
#include <vector>

#include "worker/leak_sentinel.h"
#include "worker/warm_up.h"

namespace coderunner {

class Templates {
 public:
  explicit Templates(const Jail& jail);

  // Whether there are any, or will be: the setup asks for warm runners, and they can be had.
  [[nodiscard]] bool wanted() const { return wanted_; }
  // Starts the first one, unless that has been done; the other one is started when it is ready.
  void begin() {
    if (wanted_) standard_.want();
  }

  // What the next job will most likely want is what the last one wanted.
  void expect(bool packages) { expected_ = packages ? TemplateKind::kPackages : TemplateKind::kStandard; }
  [[nodiscard]] bool expects(TemplateKind kind) const { return kind == expected_; }
  // Who holds a ready template for the next job: the best there is, or null.
  WarmUp* best() { return best(expected_); }
  // Who holds a ready one with packages, or null.
  WarmUp* with_packages();

  [[nodiscard]] std::array<int, 2> news_fds() const { return {standard_.news_fd(), packages_.news_fd()}; }
  [[nodiscard]] Deadline next_attempt() const { return standard_.next_attempt().earlier(packages_.next_attempt()); }
  [[nodiscard]] TemplateCounts counts() const;
  // The processes of these sessions are not a job's.
  [[nodiscard]] std::vector<pid_t> sessions() const;
  [[nodiscard]] TemplateSessions all_sessions() const;

 private:
  WarmUp* best(TemplateKind kind);

  bool wanted_;
  WarmUp standard_, packages_;
  bool second_due_;  // there is to be one with packages, and it has not been started yet
  TemplateKind expected_;
};

}  // namespace coderunner
