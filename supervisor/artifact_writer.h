// Role: writes a job's artifacts into a directory with the rights of whoever typed `coderunner run`, while the rest of
// the command has given these rights up.
// Callers: run_command.cc.
// Law: a process of its own, forked before privileges are dropped; it hears Artifact and ArtifactData frames and
// nothing else. It overwrites files of the directory itself; it follows no link out of it.
#pragma once

#include <string>

#include "common/channel.h"
#include "common/child.h"
#include "common/job.h"
#include "common/result.h"

namespace coderunner {

class ArtifactWriter {
 public:
  // Makes the directory when there is none. Before threads exist.
  static Result<ArtifactWriter> start(const std::string& directory);
  Result<void> announce(const ArtifactHeader& header);
  Result<void> write(std::string_view bytes);
  Result<void> finish();  // all is written, or an error; the writer has said on standard error what failed

  [[nodiscard]] const Child& child() const { return child_; }

 private:
  ArtifactWriter(Child child, Channel channel) : child_(std::move(child)), channel_(std::move(channel)) {}
  Child child_;
  Channel channel_;
};

// A name that stays in its directory.
Result<void> check_artifact_name(const std::string& name);

}  // namespace coderunner
