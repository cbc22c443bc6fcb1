// Role: puts the limits into openapi.json, which travels inside the program.
// Callers: see openapi.h.
// Law: settable limits have their setting's name.
#include "supervisor/openapi.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>

namespace coderunner {

namespace {

constexpr std::string_view kDocument =
#include "openapi.inc"
    ;
constexpr std::string_view kVersion = "version";
constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz-";

struct Setting {
  std::string_view name;
  std::uint64_t Limits::*value;
};
constexpr auto kSettings = std::to_array<Setting>({
    {"artifacts", &Limits::artifacts},
    {"artifacts-bytes", &Limits::artifacts_bytes},
    {"default-timeout", &Limits::default_timeout_s},
    {"file-bytes", &Limits::file_bytes},
    {"files", &Limits::files},
    {"files-bytes", &Limits::files_bytes},
    {"max-timeout", &Limits::max_timeout_s},
    {"memory", &Limits::memory_bytes},
    {"script-bytes", &Limits::script_bytes},
    {"stderr-bytes", &Limits::stderr_bytes},
    {"stdout-bytes", &Limits::stdout_bytes},
});

struct Fixed {
  std::string_view name;
  std::uint64_t value;
};
constexpr auto kFixed = std::to_array<Fixed>({
    {"max-args", kMaxArgs},
    {"max-args-bytes", kMaxArgsBytes},
    {"max-env", kMaxEnv},
    {"max-env-bytes", kMaxEnvBytes},
    {"max-name", kMaxNameBytes},
    {"max-path", kMaxPathBytes},
});

std::uint64_t figure(std::string_view name, const Limits& limits) {
  const auto setting = std::ranges::find(kSettings, name, &Setting::name);
  if (setting != kSettings.end()) return limits.*setting->value;
  const auto fixed = std::ranges::find(kFixed, name, &Fixed::name);
  assert(fixed != kFixed.end());  // the unit test makes the page
  return fixed->value;
}

}  // namespace

HttpReply make_openapi_page(const Limits& limits, std::string_view version) {
  HttpReply reply;
  std::string& out = reply.body;
  for (std::string_view rest = kDocument; !rest.empty();) {
    const std::size_t at = std::min(rest.find('@'), rest.size());
    out += rest.substr(0, at);
    rest.remove_prefix(at);
    if (rest.empty()) break;
    rest.remove_prefix(1);
    const std::string_view name = rest.substr(0, rest.find_first_not_of(kNameCharacters));
    rest.remove_prefix(name.size());
    if (name == kVersion) {
      out += version;
      continue;
    }
    // Alone in its quotes it is a number, inside a text it is text.
    const bool alone = out.ends_with('"') && rest.starts_with('"');
    if (alone) {
      out.pop_back();
      rest.remove_prefix(1);
    }
    out += std::to_string(figure(name, limits));
  }
  return reply;
}

}  // namespace coderunner
