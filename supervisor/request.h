// Role: the body of POST /api/run -> a job, or the first thing that is wrong with it.
// Callers: run_route.cc. Behind it: rules.h, the rules of the contract one a row.
// Law: never runs anything, never touches a file; every refusal names its field and its limit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/limits.h"
#include "common/result.h"

namespace coderunner {

struct InputFile {
  std::string path;  // relative to the working directory: "script.py", "input/a.csv", "pkg/main.py"
  std::string content;
  bool read_only = false;
};

enum class RequestMode : std::uint8_t { kRaw, kScript, kFiles };

struct RunRequest {
  RequestMode mode = RequestMode::kScript;
  JobSpec job;
  std::vector<InputFile> files;  // the script is the first one
  std::string stdin_bytes;
  bool detail = false;
  std::size_t context_files = 0;  // for the audit log: entries of `context` or `files`
};

struct RequestSource {
  std::string_view content_type;  // the header's value, or empty
  std::string_view timeout_param; // the raw value of ?timeout_s=, valid when has_timeout_param
  bool has_timeout_param = false;
  std::string_view body;
};

// Fault::kClient (400) or Fault::kTooLarge (413).
Result<RunRequest> parse_request(const RequestSource& source, const Limits& limits);

}  // namespace coderunner
