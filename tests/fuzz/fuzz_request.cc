// Role: libFuzzer target: any bytes as the body of POST /api/run, as JSON and as raw text.
// Law: no crash, no sanitizer report; what is accepted keeps every limit, what is refused says why in one line.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "common/text.h"
#include "supervisor/request.h"

namespace {

using namespace coderunner;

void require(bool holds) {
  if (!holds) std::abort();
}

// Small, so that short inputs reach both sides of each.
Limits small_limits() {
  Limits limits;
  limits.max_timeout_s = 20;
  limits.default_timeout_s = 10;
  limits.script_bytes = 32;
  limits.files = 3;
  limits.file_bytes = 16;
  limits.files_bytes = 24;
  return limits;
}

bool stays_inside(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes || path.front() == '/' || path.back() == '/') return false;
  if (path.find_first_of(std::string_view("\\\0", 2)) != path.npos || path.find("//") != path.npos) return false;
  return !path.starts_with('.') && path.find("/.") == path.npos;
}

void check_files(const RunRequest& request, const Limits& limits) {
  require(!request.files.empty() && request.files.front().path == request.job.entry_point);
  require(request.context_files == request.files.size() - (request.mode == RequestMode::kFiles ? 0 : 1));
  require(request.context_files <= limits.files);
  std::set<std::string_view> paths;
  Bytes total = 0;
  for (const InputFile& file : request.files) {
    require(stays_inside(file.path) && is_utf8(file.path) && paths.insert(file.path).second);
    const bool is_script = request.mode != RequestMode::kFiles && paths.size() == 1;
    require(file.content.size() <= (is_script ? limits.script_bytes : limits.file_bytes));
    require(file.read_only == (request.mode != RequestMode::kFiles && !is_script));
    require(!file.read_only || (file.path.starts_with("input/") && std::ranges::count(file.path, '/') == 1));
    if (!is_script) total += file.content.size();
  }
  require(total <= limits.files_bytes);
  for (const std::string_view path : paths) {
    for (std::size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      require(!paths.contains(path.substr(0, slash)));
    }
  }
}

void check_accepted(const RunRequest& request, const Limits& limits) {
  check_files(request, limits);
  require(request.stdin_bytes.size() <= limits.file_bytes);
  require(request.job.timeout_ms >= 1000 && request.job.timeout_ms <= limits.max_timeout_s * 1000);
  require(request.job.nested_artifacts == (request.mode == RequestMode::kFiles));
  require(request.job.entry_point.ends_with(".py"));
  Bytes args = 0, env = 0;
  for (const std::string& arg : request.job.args) {
    args += arg.size();
    require(arg.find('\0') == arg.npos && is_utf8(arg));
  }
  for (const auto& [name, value] : request.job.env) {
    env += name.size() + value.size();
    require(!name.empty() && name.find_first_of(std::string_view("=\0", 2)) == name.npos);
    require(value.find('\0') == value.npos && is_utf8(value));
  }
  require(request.job.args.size() <= kMaxArgs && args <= kMaxArgsBytes);
  require(request.job.env.size() <= kMaxEnv && env <= kMaxEnvBytes);
}

void check(const RequestSource& source, const Limits& limits) {
  const auto result = parse_request(source, limits);
  if (result) return check_accepted(*result, limits);
  const Error& error = result.error();
  require(error.fault == Fault::kClient || error.fault == Fault::kTooLarge);
  require(!error.message.empty() && error.message.size() < 500 && is_utf8(error.message));
  require(std::ranges::none_of(error.message, [](char c) { return c >= 0 && c < ' '; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const Limits& limits : {Limits{}, small_limits()}) {
    check({.content_type = "application/json", .timeout_param = {}, .body = body}, limits);
    RequestSource raw{.content_type = "text/plain", .timeout_param = {}, .body = body};
    check(raw, limits);
    raw.timeout_param = body.substr(0, 8);
    raw.has_timeout_param = true;
    check(raw, limits);
  }
  return 0;
}
