// Role: what a run left behind -> the answer of the contract, and an Error -> its status.
// Callers: run_route.cc; routes.cc for errors; reply_stream.cc for the parts that both forms share.
// Law: the shape of the answer is written here and nowhere else; texts and member names are part of the contract.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/limits.h"
#include "common/result.h"
#include "common/units.h"
#include "supervisor/http.h"
#include "supervisor/session.h"

namespace coderunner {

struct OutputBytes {
  Bytes out = 0, err = 0;
};

struct Artifact {
  ArtifactHeader header;
  std::string content;  // empty when header.skipped is set
};

// Keeps a job's output for one answer. Unbounded: the worker cuts it to the limits and run_session holds it to that.
class CollectingSink : public JobSink {
 public:
  void on_stdout(std::string_view bytes) override;
  void on_stderr(std::string_view bytes) override;
  void on_artifact(const ArtifactHeader& header) override;
  void on_artifact_data(std::string_view bytes) override;

  [[nodiscard]] OutputBytes bytes() const { return {stdout_.size(), stderr_.size()}; }
  [[nodiscard]] const std::string& stdout_bytes() const { return stdout_; }
  [[nodiscard]] const std::string& stderr_bytes() const { return stderr_; }
  [[nodiscard]] const std::vector<Artifact>& artifacts() const { return artifacts_; }

 private:
  std::string stdout_, stderr_;
  std::vector<Artifact> artifacts_;
};

// What the answer says besides the output.
struct RunFacts {
  ExitReport report;
  bool detail = false;  // with the `run` member
  Micros queue{0};
  std::uint64_t timeout_ms = 0;
  SandboxLevel sandbox = SandboxLevel::kReduced;
};

// "text", or {"content":"<base64>","encoding":"base64"} for what is no text.
void append_file(std::string& out, std::string_view content);

// The `run` member. `skipped`: the artifacts that are not returned.
std::string format_run(const RunFacts& facts, const std::vector<ArtifactHeader>& skipped, const Limits& limits);

// 200, or 500 when the artifacts were refused. Carries Server-Timing.
HttpReply make_run_reply(const RunFacts& facts, const CollectingSink& output, const Limits& limits);

// The report of a job whose worker was lost: exit code -1 and the reason.
ExitReport make_lost_report(const Error& error, OutputBytes output);

std::string_view verdict_name(Verdict verdict);  // "ok", "error", …
int status_of(Fault fault);
// With Retry-After and WWW-Authenticate where they belong. `retry_after`: what is known better than a fixed guess.
HttpReply make_error_reply(const Error& error, std::optional<std::chrono::seconds> retry_after = std::nullopt);

}  // namespace coderunner
