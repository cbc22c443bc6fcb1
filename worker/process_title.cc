// Role: see process_title.h. The one place with state of the whole process: its title is one, too.
#include "worker/process_title.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <fmt/format.h>

namespace coderunner {
namespace {

struct Title {
  char* begin = nullptr;
  std::size_t room = 0;
  std::string name;
  std::uint32_t slot = 0;
};

Title& title() {
  static Title instance;
  return instance;
}

}  // namespace

void keep_process_title(int argc, char** argv, std::string_view name) {
  if (argc < 1) return;
  const char* end = argv[argc - 1] + std::strlen(argv[argc - 1]);
  title() = {argv[0], static_cast<std::size_t>(end - argv[0]), std::string(name), 0};
}

void set_process_slot(std::uint32_t slot) { title().slot = slot; }

void set_process_title(std::string_view state) {
  const Title& kept = title();
  if (kept.begin == nullptr) return;
  const std::string text = fmt::format("{} {} {}", kept.name, kept.slot, state);
  std::memset(kept.begin, 0, kept.room);
  std::memcpy(kept.begin, text.data(), std::min(text.size(), kept.room));
}

}  // namespace coderunner
