// Role: see sandbox_report.h.
#include "supervisor/sandbox_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/text.h"

namespace coderunner {

namespace {

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

bool weak(const LayerReport& layer) {
  return layer.status == LayerStatus::kMissing || layer.status == LayerStatus::kFails;
}

// "reason: cure", or what there is of it.
std::string with_cure(const LayerReport& layer, std::string_view reason) {
  return layer.cure.empty() ? std::string(reason) : fmt::format("{}: {}", reason, layer.cure);
}

std::string_view reason_of(const LayerReport& layer) { return layer.found.empty() ? layer.means : layer.found; }

}  // namespace

std::string_view level_name(SandboxLevel level) { return level == SandboxLevel::kFull ? "full" : "reduced"; }

std::string_view status_name(LayerStatus status) {
  constexpr std::array<std::string_view, 4> kNames = {"holds", "in force", "missing", "fails"};
  return kNames.at(static_cast<std::size_t>(status));
}

int check_exit_status(const SandboxReport& report) {
  const auto fails = [](const LayerReport& layer) { return layer.status == LayerStatus::kFails; };
  if (std::ranges::any_of(report.layers, fails)) return kExitUnusable;
  return report.level == SandboxLevel::kFull && std::ranges::none_of(report.layers, weak) ? 0 : kExitReduced;
}

std::string describe_weakness(const SandboxReport& report) {
  std::string text;
  for (const LayerReport& layer : report.layers) {
    if (!weak(layer)) continue;
    const std::string_view verb = layer.status == LayerStatus::kFails ? " fails" : "";
    text += fmt::format("{}{}{}: {}", text.empty() ? "" : "; ", layer.name, verb, with_cure(layer, reason_of(layer)));
  }
  return text;
}

std::string format_sandbox_json(const SandboxReport& report) {
  std::string json = fmt::format(
      R"({{"level":"{}","kernel":{},"python":{},"runner":{},"memory_accounting":{},"landlock_abi":{},"layers":{{)",
      level_name(report.level), quote(report.kernel), quote(report.python), quote(report.runner),
      quote(report.memory_accounting), report.landlock_abi);
  std::string_view separator;
  for (const LayerReport& layer : report.layers) {
    json += fmt::format(R"({}{}:{{"active":{},"status":"{}","detail":{})", separator, quote(layer.name), !weak(layer),
                        status_name(layer.status), quote(layer.means.empty() ? layer.found : layer.means));
    const std::array<std::pair<std::string_view, const std::string*>, 3> more = {
        {{"tried", &layer.tried}, {"found", &layer.found}, {"cure", &layer.cure}}};
    for (const auto& [name, text] : more)
      if (!text->empty()) json += fmt::format(R"(,"{}":{})", name, quote(*text));
    json += '}';
    separator = ",";
  }
  return json + "}}";
}

std::string format_sandbox_table(const SandboxReport& report) {
  std::size_t width = 0;
  for (const LayerReport& layer : report.layers) width = std::max(width, layer.name.size());
  std::string table = fmt::format("sandbox   {}\nkernel    {}, Landlock ABI {}\nPython    {}, {} runners tried\n"
                                  "memory    counted by {}\n\n",
                                  level_name(report.level), report.kernel, report.landlock_abi, report.python,
                                  report.runner, report.memory_accounting);
  const auto line = [&](std::string_view name, std::string_view status, std::string_view text) {
    table += fmt::format("{:<{}}  {:<8}  {}\n", name, width, status, text);
  };
  for (const LayerReport& layer : report.layers) {
    if (weak(layer)) {
      line(layer.name, status_name(layer.status), with_cure(layer, reason_of(layer)));
      continue;
    }
    line(layer.name, status_name(layer.status), layer.means.empty() ? layer.found : layer.means);
    if (!layer.tried.empty()) line("", "", "tried: " + layer.tried);
    if (!layer.cure.empty()) line("", "", "better: " + layer.cure);
  }
  return table;
}

}  // namespace coderunner
