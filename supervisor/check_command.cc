// Role: one worker, its Ready, a table.
// Callers: see check_command.h.
#include "supervisor/check_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common/sys.h"
#include "common/text.h"
#include "supervisor/launch.h"
#include "supervisor/run_command.h"

namespace coderunner {

namespace {

constexpr Millis kLook{100};

std::string_view level_name(SandboxLevel level) { return level == SandboxLevel::kFull ? "full" : "reduced"; }
std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

Result<ReadyReport> ask_worker(const Settings& settings, std::span<char> title_area) {
  Ground ground = TRY(lay_ground(settings, 1, title_area));
  for (const std::string& note : ground.notes) complain(note);
  const Interpreter python = TRY(find_python(settings));
  Pool pool(describe_pool(settings, 1, ground, python));
  while (!pool.wait_until_ready(Deadline::in(kLook))) {
    if (std::string trouble = pool.health().trouble; !trouble.empty()) return fail(Fault::kSandbox, std::move(trouble));
  }
  return *pool.health().report;
}

}  // namespace

std::string format_check_table(const ReadyReport& report) {
  std::size_t width = 0;
  for (const LayerState& layer : report.layers) width = std::max(width, layer.name.size());
  std::string table = fmt::format("sandbox: {}, Python {}\n", level_name(report.level), report.python);
  for (const LayerState& layer : report.layers) {
    table += fmt::format("  {:<{}}  {:<3}  {}\n", layer.name, width, layer.active ? "yes" : "no", layer.detail);
  }
  return table;
}

std::string format_check_json(const ReadyReport& report) {
  std::string json = fmt::format(R"({{"level":"{}","python":{},"layers":[)", level_name(report.level),
                                 quote(report.python));
  const char* separator = "";
  for (const LayerState& layer : report.layers) {
    json += fmt::format(R"({}{{"name":{},"active":{},"detail":{}}})", separator, quote(layer.name), layer.active,
                        quote(layer.detail));
    separator = ",";
  }
  return json + "]}\n";
}

int check_command(const Settings& settings, std::span<char> title_area) {
  const auto report = ask_worker(settings, title_area);
  if (!report) {
    complain(report.error().message);
    return kExitInternal;
  }
  const std::string text = settings.check_json ? format_check_json(*report) : format_check_table(*report);
  return sys::write_all(STDOUT_FILENO, text) ? 0 : kExitInternal;
}

}  // namespace coderunner
