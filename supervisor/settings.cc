// Role: collects values from file, variables and flags, and applies them in that order. The only door to CLI11.
// Callers: see settings.h.
// Law: every value goes through its row's `set`; a wrong one is told even where a stronger source overrides it.
#include "supervisor/settings.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "common/sys.h"
#include "supervisor/gate.h"

namespace coderunner {
namespace {

std::unexpected<Error> refuse_setting(std::string_view source, std::string_view says) {
  return fail(Fault::kClient, fmt::format("{}: {}", source, says));
}

// What the command line says, before any value is read.
struct CommandLine {
  Command command = Command::kServe;
  std::map<std::string_view, std::vector<std::string>> values;  // by row name; a flag may come several times
  std::vector<std::string> config;
  std::string run_script, run_output;
  std::vector<std::string> run_inputs, run_args, run_timeout;
  bool check = false, check_json = false;
  std::string completion;  // the shell
};

void add_value(CLI::App& app, const std::string& flag, std::vector<std::string>& into) {
  app.add_option_function<std::vector<std::string>>(
         flag, [&into](const auto& given) { into.insert(into.end(), given.begin(), given.end()); })
      ->allow_extra_args(false)  // one value behind each flag
      ->take_all();
}

void add_settings(CLI::App& app, CommandLine& line, Command command) {
  app.set_version_flag("--version", CODERUNNER_VERSION);
  add_value(app, "--config", line.config);
  for (const SettingRow& row : setting_rows()) {
    if (command == Command::kRun && row.group != SettingGroup::kSandbox && row.group != SettingGroup::kLimits) continue;
    add_value(app, fmt::format("--{}", row.name), line.values[row.name]);
  }
}

Result<CommandLine> read_command_line(std::span<const char* const> argv) {
  CommandLine line;
  // Cut off here, because CLI11 would take a later `serve` for a subcommand.
  const auto dashes = std::ranges::find_if(argv, [](std::string_view argument) { return argument == "--"; });
  const bool has_dashes = dashes != argv.end();
  if (has_dashes) line.run_args.assign(dashes + 1, argv.end());

  CLI::App app;
  app.set_help_flag("-h,--help");
  app.require_subcommand(0, 1);
  add_settings(app, line, Command::kServe);
  CLI::Option* const check = app.add_flag("--check", line.check);
  app.add_flag("--json", line.check_json)->needs(check);
  app.add_option("--completion", line.completion);
  add_settings(*app.add_subcommand("serve"), line, Command::kServe);
  CLI::App& run = *app.add_subcommand("run");
  add_settings(run, line, Command::kRun);
  run.add_option("SCRIPT", line.run_script)->required();
  run.add_option("--input", line.run_inputs);
  run.add_option("--output", line.run_output);
  add_value(run, "--timeout", line.run_timeout);
  try {
    app.parse(static_cast<int>(dashes - argv.begin()), argv.data());
  } catch (const CLI::CallForHelp&) {
    line.command = Command::kHelp;
    return line;
  } catch (const CLI::CallForVersion&) {
    line.command = Command::kVersion;
    return line;
  } catch (const CLI::ParseError& error) {
    return fail(Fault::kClient, fmt::format("{} (see coderunner --help)", error.what()));
  }
  if (line.check && !app.get_subcommands().empty()) return refuse_setting("--check", "it is a command of its own");
  if (line.check) line.command = Command::kCheck;
  if (!line.completion.empty()) {
    if (line.completion != "bash") return refuse_setting("--completion", "takes bash");
    line.command = Command::kCompletion;
    return line;
  }
  if (run.parsed()) line.command = Command::kRun;
  if (has_dashes && line.command != Command::kRun) return refuse_setting("--", "only run takes script arguments");
  return line;
}

class Collector {
 public:
  explicit Collector(Settings& settings) : settings_(settings) {}

  Result<void> set(const SettingRow& row, std::string_view source, std::string_view value) {
    auto done = row.set(settings_, value);
    if (!done) return refuse_setting(source, done.error().message);
    given_.insert(row.name);
    return {};
  }
  [[nodiscard]] bool given(std::string_view name) const { return given_.contains(name); }

 private:
  Settings& settings_;
  std::set<std::string_view> given_;
};

const SettingRow* find_row(std::string_view name) {
  const auto rows = setting_rows();
  const auto row = std::ranges::find(rows, name, &SettingRow::name);
  return row == rows.end() ? nullptr : &*row;
}

std::string_view trim(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t\r") + 1);
}

// Lines of `name = value`; a comment is a `#` at the beginning or after white space, so that a key may hold one.
Result<void> apply_file(Collector& collector, const std::string& path) {
  auto read = sys::read_file(path);
  if (!read) return refuse_setting("--config", read.error().message);
  std::set<std::string_view> seen;
  int number = 0;
  for (std::string_view rest = *read; !rest.empty();) {
    std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    const std::string source = fmt::format("{}:{}", path, ++number);
    for (std::size_t at = text.find('#'); at != text.npos; at = text.find('#', at + 1)) {
      if (at == 0 || text[at - 1] == ' ' || text[at - 1] == '\t') text = text.substr(0, at);
    }
    if (trim(text).empty()) continue;
    const std::size_t equals = text.find('=');
    if (equals == text.npos) return refuse_setting(source, "a line is NAME = VALUE");
    const SettingRow* const row = find_row(trim(text.substr(0, equals)));
    if (row == nullptr) return refuse_setting(source, "no such setting (see coderunner --help)");
    if (!seen.insert(row->name).second) return refuse_setting(source, fmt::format("{} is set twice", row->name));
    TRY(collector.set(*row, fmt::format("{}: {}", source, row->name), trim(text.substr(equals + 1))));
  }
  return {};
}

class Environment {
 public:
  explicit Environment(std::span<const char* const> entries) : entries_(entries) {}
  // An empty variable counts as not set: that is how containers and shells unset one.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const {
    for (const std::string_view entry : entries_) {
      if (entry.size() > name.size() + 1 && entry.starts_with(name) && entry[name.size()] == '=') {
        return entry.substr(name.size() + 1);
      }
    }
    return std::nullopt;
  }

 private:
  std::span<const char* const> entries_;
};

Result<void> apply_variables(Collector& collector, const Environment& environment) {
  for (const SettingRow& row : setting_rows()) {
    const std::string name = variable_name(row);
    if (const auto value = environment.find(name)) TRY(collector.set(row, name, *value));
  }
  return {};
}

Result<void> apply_flags(Collector& collector, const CommandLine& line) {
  for (const SettingRow& row : setting_rows()) {
    const auto& values = line.values.at(row.name);
    if (values.empty()) continue;
    const bool list = row.takes == kTakesList;
    TRY(collector.set(row, fmt::format("--{}", row.name),
                      list ? fmt::format("{}", fmt::join(values, ",")) : values.back()));
  }
  if (!line.run_timeout.empty()) TRY(collector.set(*find_row("default-timeout"), "--timeout", line.run_timeout.back()));
  return {};
}

// The site's own name, where the host knows it, is an origin of our own: https in Azure, http on a developer's machine.
void apply_site(Settings& settings, const Environment& environment) {
  settings.starter = Starter::kFunctionsHost;
  const auto site = environment.find("WEBSITE_HOSTNAME");
  if (!site) return;
  const auto origin = parse_origin(fmt::format("http://{}", *site));
  if (!origin) return;
  const bool local = is_loopback_host(origin->host);
  if (local) settings.starter = Starter::kFunctionsTools;
  settings.allow_origins.push_back(fmt::format("{}://{}", local ? "http" : "https", *site));
}

// The Azure Functions host tells its custom handler where to listen by variable; the second name is the older one.
Result<void> apply_functions_host(Settings& settings, const Environment& environment, bool listen_given) {
  for (const std::string_view name : {"FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"}) {
    const auto port = environment.find(name);
    if (!port) continue;
    apply_site(settings, environment);
    if (listen_given) return {};
    const auto listen = find_row("listen")->set(settings, fmt::format("{}:{}", settings.listen_host, *port));
    if (!listen || settings.listen_port == 0) return refuse_setting(name, "takes a port from 1 to 65535");
    return {};
  }
  return {};
}

Result<void> settle_timeouts(Settings& settings, const Collector& collector, const CommandLine& line) {
  Limits& limits = settings.limits;
  // Whoever runs a script by hand is the operator too.
  if (!line.run_timeout.empty()) limits.max_timeout_s = std::max(limits.max_timeout_s, limits.default_timeout_s);
  if (!collector.given("default-timeout")) {
    limits.default_timeout_s = std::min(limits.default_timeout_s, limits.max_timeout_s);
  }
  if (limits.default_timeout_s <= limits.max_timeout_s) return {};
  return refuse_setting("default-timeout", fmt::format("{} is above max-timeout, which is {}", limits.default_timeout_s,
                                                       limits.max_timeout_s));
}

}  // namespace

Result<Settings> parse_settings(std::span<const char* const> argv, std::span<const char* const> variables) {
  CommandLine line = TRY(read_command_line(argv));
  Settings settings;
  settings.command = line.command;
  if (line.command == Command::kHelp) settings.help_text = make_help_text();
  for (const Command asks_nothing : {Command::kHelp, Command::kVersion, Command::kCompletion}) {
    if (line.command == asks_nothing) return settings;
  }

  const Environment environment(variables);
  Collector collector(settings);
  if (!line.config.empty()) {
    TRY(apply_file(collector, line.config.back()));
  } else if (const auto path = environment.find("CODERUNNER_CONFIG")) {
    TRY(apply_file(collector, std::string(*path)));
  }
  TRY(apply_variables(collector, environment));
  TRY(apply_flags(collector, line));
  TRY(apply_functions_host(settings, environment, collector.given("listen")));
  TRY(settle_timeouts(settings, collector, line));

  settings.run_script = std::move(line.run_script);
  settings.run_inputs = std::move(line.run_inputs);
  settings.run_output = std::move(line.run_output);
  settings.run_args = std::move(line.run_args);
  settings.check_json = line.check_json;
  return settings;
}

}  // namespace coderunner
