// Role: see artifact_names.h.
#include "supervisor/artifact_names.h"

#include <fmt/format.h>

#include "common/text.h"

namespace coderunner {

std::string ArtifactNames::take(std::string_view name) {
  const std::string text = decode_utf8_replace(name);
  std::string free = text;
  for (unsigned number = 2; !taken_.insert(free).second; ++number) free = fmt::format("{} ({})", text, number);
  return free;
}

}  // namespace coderunner
