// Role: every setting of the service from one table: flag, CODERUNNER_* variable, config-file key, --help, README rows.
// Callers: supervisor/main.cc.
// Law: flag beats variable beats file beats default. A wrong value names its source, the setting and what it takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/job.h"
#include "common/limits.h"
#include "common/result.h"

namespace coderunner {

enum class Command : std::uint8_t { kServe, kRun, kCheck, kCompletion, kHelp, kVersion };

// Who started the service, as its environment tells.
enum class Starter : std::uint8_t {
  kOperator,
  kFunctionsTools,  // the Azure Functions host on a developer's machine: `func start`
  kFunctionsHost,   // the Azure Functions host behind a front end that has checked names and keys
};

struct Settings {
  Command command = Command::kServe;
  std::string listen_host = "127.0.0.1";  // a name or address, without the brackets of an IPv6 one
  int listen_port = 7071;                 // 0 picks a free one
  std::uint64_t workers = 0;              // 0: one a core
  std::uint64_t queue = 256;
  Bytes queue_bytes = 256 * kMiB;
  RunnerMode runner = RunnerMode::kWarm;
  // What scripts of agents and data teams import most, and what takes longest to import.
  std::vector<std::string> preload = {
      "argparse", "array", "ast", "asyncio", "base64", "bisect", "calendar", "collections", "concurrent.futures",
      "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools",
      "glob", "gzip", "hashlib", "heapq", "html", "inspect", "io", "itertools", "json", "logging", "math",
      "multiprocessing", "operator", "os", "pathlib", "pickle", "pprint", "queue", "random", "re", "secrets", "shutil",
      "signal", "socket", "sqlite3?", "ssl?", "statistics", "string", "struct", "subprocess", "tempfile", "textwrap",
      "threading", "time", "traceback", "types", "typing", "unittest", "urllib.parse", "uuid", "xml.etree.ElementTree",
      "zipfile", "zlib", "zoneinfo?", "numpy?", "pandas?", "matplotlib.pyplot?"};
  std::string python;    // empty: the first usable one
  std::string packages;  // empty: the default places
  SandboxMode sandbox = SandboxMode::kAuto;
  NetworkMode network = NetworkMode::kNone;
  std::vector<std::string> api_keys;
  std::vector<std::string> allow_origins;    // each valid for parse_origin (gate.h)
  std::vector<std::string> trusted_proxies;  // IPv4 or IPv6 addresses
  Starter starter = Starter::kOperator;
  std::string user = "nobody";
  std::uint64_t grace_s = 30;
  Limits limits;

  // coderunner run SCRIPT [--input FILE…] [--output DIR] [--timeout SECONDS] [-- ARGS…]
  std::string run_script;
  std::vector<std::string> run_inputs;
  std::string run_output;  // empty: artifacts are not written
  std::vector<std::string> run_args;

  bool check_json = false;
  std::string help_text;  // for kHelp
};

// Which part of the service a setting belongs to; those of kService and kAccess mean nothing to `run`.
enum class SettingGroup : std::uint8_t { kService, kAccess, kSandbox, kLimits };

inline constexpr std::string_view kTakesList = "LIST";  // such a flag may be given several times

// One setting: --queue-bytes, CODERUNNER_QUEUE_BYTES and `queue-bytes` in the file.
struct SettingRow {
  std::string_view name;
  std::string_view takes;  // what stands for the value in --help: SIZE
  std::string_view default_text;
  SettingGroup group;
  std::string_view help;
  Result<void> (*set)(Settings& settings, std::string_view value);  // an error says what the setting takes
};
std::span<const SettingRow> setting_rows();
std::string variable_name(const SettingRow& row);
std::string make_help_text();

// `argv` begins with the program's name. `environment` is the process's ("NAME=value"); a parameter so that tests need
// no setenv; an empty variable counts as not set. Fault::kClient: what is wrong with which setting, one line.
Result<Settings> parse_settings(std::span<const char* const> argv, std::span<const char* const> environment);

}  // namespace coderunner
