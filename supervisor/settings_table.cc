// Role: the settings, one a row, and how each kind of value is read.
// Callers: settings.cc, and the tests that compare the rows with --help and the README.
// Law: a new setting is a new row; a kind says in its error what it takes and in which range.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "common/text.h"
#include "supervisor/gate.h"
#include "supervisor/settings.h"

namespace coderunner {
namespace {

std::unexpected<Error> refuse_value(std::string message) { return fail(Fault::kClient, std::move(message)); }

// The member of Settings, or of its Limits.
template <auto Member>
auto& member_of(Settings& settings) {
  if constexpr (requires { settings.*Member; }) return settings.*Member;
  else return settings.limits.*Member;
}

template <auto Member, std::uint64_t kLow, std::uint64_t kHigh>
Result<void> set_number(Settings& settings, std::string_view value) {
  std::uint64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end || number < kLow || number > kHigh) {
    return refuse_value(fmt::format("takes a whole number from {} to {}, not \"{}\"", kLow, kHigh, value));
  }
  member_of<Member>(settings) = number;
  return {};
}

std::string size_text(Bytes size) {
  if (size % kGiB == 0 && size > 0) return fmt::format("{}G", size / kGiB);
  if (size % kMiB == 0 && size > 0) return fmt::format("{}M", size / kMiB);
  return fmt::format("{}", size);
}

template <auto Member, Bytes kLow, Bytes kHigh>
Result<void> set_size(Settings& settings, std::string_view value) {
  const auto size = parse_size(value);
  if (!size || *size < kLow || *size > kHigh) {
    return refuse_value(fmt::format("takes a size from {} to {}, such as 1000000, 512K, 256M or 1.5G, not \"{}\"",
                                    size_text(kLow), size_text(kHigh), value));
  }
  member_of<Member>(settings) = *size;
  return {};
}

template <auto Member>
Result<void> set_text(Settings& settings, std::string_view value) {
  if (value.empty()) return refuse_value("takes a name");
  member_of<Member>(settings) = value;
  return {};
}

template <auto Member>
Result<void> set_path(Settings& settings, std::string_view value) {
  if (!value.starts_with('/')) return refuse_value(fmt::format("takes an absolute path, not \"{}\"", value));
  member_of<Member>(settings) = value;
  return {};
}

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

constexpr Choice<RunnerMode> kRunners[] = {{"warm", RunnerMode::kWarm}, {"fresh", RunnerMode::kFresh}};
constexpr Choice<NetworkMode> kNetworks[] = {{"none", NetworkMode::kNone}, {"host", NetworkMode::kHost}};
constexpr Choice<SandboxMode> kSandboxes[] = {
    {"auto", SandboxMode::kAuto}, {"strict", SandboxMode::kStrict}, {"reduced", SandboxMode::kReduced}};

template <auto Member, const auto& kChoices>
Result<void> set_choice(Settings& settings, std::string_view value) {
  std::string names;
  for (const auto& choice : kChoices) {
    if (choice.name == value) {
      member_of<Member>(settings) = choice.value;
      return {};
    }
    names += fmt::format("{}{}", names.empty() ? "" : " or ", choice.name);
  }
  return refuse_value(fmt::format("takes {}, not \"{}\"", names, value));
}

using ItemCheck = bool (*)(const std::string& item);
bool is_any(const std::string&) { return true; }
bool is_origin(const std::string& item) { return parse_origin(item).has_value(); }
bool is_address(const std::string& item) {
  in6_addr address{};  // room for either kind
  return inet_pton(AF_INET, item.c_str(), &address) == 1 || inet_pton(AF_INET6, item.c_str(), &address) == 1;
}

struct ItemKind {
  std::string_view what;
  ItemCheck check;
};
constexpr ItemKind kKeys{"keys", is_any};
constexpr ItemKind kOrigins{"origins such as https://app.example.org, with nothing behind host and port", is_origin};
constexpr ItemKind kAddresses{"IP addresses", is_address};

// Never repeats a value: keys are lists. An empty list is refused: whoever sets keys does not mean "no key needed".
template <auto Member, const ItemKind& kKind>
Result<void> set_list(Settings& settings, std::string_view value) {
  std::vector<std::string> items;
  while (!value.empty()) {
    std::string_view item = value.substr(0, value.find(','));
    value.remove_prefix(std::min(value.size(), item.size() + 1));
    item.remove_prefix(std::min(item.find_first_not_of(" \t"), item.size()));
    item = item.substr(0, item.find_last_not_of(" \t") + 1);
    if (!item.empty()) items.emplace_back(item);
  }
  if (items.empty() || !std::ranges::all_of(items, kKind.check)) {
    return refuse_value(fmt::format("takes {}, separated by commas", kKind.what));
  }
  member_of<Member>(settings) = std::move(items);
  return {};
}

// A dotted name; a ? may stand at its end.
bool is_module(const std::string& item) {
  const std::string_view name = item.ends_with('?') ? std::string_view(item).substr(0, item.size() - 1) : item;
  char before = '.';
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool later = (c >= '0' && c <= '9') || c == '.';
    if (!letter && (!later || before == '.')) return false;
    before = c;
  }
  return before != '.';
}
constexpr ItemKind kModules{"names of modules", is_module};

Result<void> set_preload(Settings& settings, std::string_view value) {
  if (value != "none") return set_list<&Settings::preload, kModules>(settings, value);
  settings.preload.clear();
  return {};
}

Result<void> set_listen(Settings& settings, std::string_view value) {
  const auto wrong = [value] {
    return refuse_value(fmt::format("takes HOST:PORT, such as 127.0.0.1:7071 or [::1]:0, not \"{}\"", value));
  };
  const std::size_t colon = value.rfind(':');
  if (colon == value.npos) return wrong();
  std::string_view host = value.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_of("[]") != host.npos || (!bracketed && host.find(':') != host.npos)) {
    return wrong();
  }
  std::uint16_t port = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data() + colon + 1, end, port);
  if (error != std::errc{} || stop != end) return wrong();
  settings.listen_host = host;
  settings.listen_port = port;
  return {};
}

using enum SettingGroup;
using S = Settings;
using L = Limits;

constexpr SettingRow kRows[] = {
    {"listen", "HOST:PORT", "127.0.0.1:7071", kService, "where to answer; port 0 picks a free one", set_listen},
    {"workers", "N", "one a core", kService, "jobs that run at once", set_number<&S::workers, 1, 1024>},
    {"queue", "N", "256", kService, "jobs that may wait", set_number<&S::queue, 0, 100'000>},
    {"queue-bytes", "SIZE", "256M", kService, "bytes that requests may hold while they are read or wait",
     set_size<&S::queue_bytes, kMiB, 64 * kGiB>},
    {"grace", "SECONDS", "30", kService, "how long SIGTERM waits for running jobs", set_number<&S::grace_s, 0, 3600>},

    {"api-key", kTakesList, "none", kAccess, "keys, one of which a run must show; better as a variable than a flag",
     set_list<&S::api_keys, kKeys>},
    {"allow-origin", kTakesList, "none", kAccess, "web origins that may call, besides the service's own",
     set_list<&S::allow_origins, kOrigins>},
    {"trusted-proxy", kTakesList, "none", kAccess, "addresses whose X-Forwarded-For is believed",
     set_list<&S::trusted_proxies, kAddresses>},

    {"runner", "warm|fresh", "warm", kSandbox,
     "a job's Python: forked with imports done, or started anew",
     set_choice<&S::runner, kRunners>},
    {"preload", kTakesList, "common modules", kSandbox,
     "imported beforehand, packages if used; \"numpy?\": if there; or none", set_preload},
    {"python", "PATH", "first usable", kSandbox, "the interpreter", set_path<&S::python>},
    {"packages", "DIR", "first usable", kSandbox, "the site-packages folder that scripts see",
     set_path<&S::packages>},
    {"sandbox", "auto|strict|reduced", "auto", kSandbox,
     "strict: no start below the full level; reduced: always the fallback", set_choice<&S::sandbox, kSandboxes>},
    {"network", "none|host", "none", kSandbox, "what scripts can reach", set_choice<&S::network, kNetworks>},
    {"user", "NAME", "nobody", kSandbox, "whom to become when started as root", set_text<&S::user>},

    {"max-timeout", "SECONDS", "300", kLimits, "the longest a run may ask for",
     set_number<&L::max_timeout_s, 1, 86'400>},
    {"default-timeout", "SECONDS", "60", kLimits, "for a run that asks for nothing",
     set_number<&L::default_timeout_s, 1, 86'400>},
    {"memory", "SIZE", "1536M", kLimits, "of one job", set_size<&L::memory_bytes, 64 * kMiB, 1024 * kGiB>},
    {"processes", "N", "128", kLimits, "of one job, threads included", set_number<&L::processes, 4, 65'536>},
    {"scratch", "SIZE", "256M", kLimits, "files that one job may write", set_size<&L::scratch_bytes, kMiB, 64 * kGiB>},
    {"scratch-inodes", "N", "16384", kLimits, "how many files those may be",
     set_number<&L::scratch_inodes, 64, 10'000'000>},
    {"descriptors", "N", "1024", kLimits, "open files of one process", set_number<&L::descriptors, 16, 1'048'576>},
    {"script-bytes", "SIZE", "256K", kLimits, "a script", set_size<&L::script_bytes, 1, kGiB>},
    {"files", "N", "20", kLimits, "input files of one run", set_number<&L::files, 1, 10'000>},
    {"file-bytes", "SIZE", "5M", kLimits, "one input file; standard input too", set_size<&L::file_bytes, 1, kGiB>},
    {"files-bytes", "SIZE", "10M", kLimits, "all input files of one run", set_size<&L::files_bytes, 1, kGiB>},
    {"body-bytes", "SIZE", "32M", kLimits, "the body of a request", set_size<&L::body_bytes, kKiB, kGiB>},
    {"stdout-bytes", "SIZE", "10M", kLimits, "standard output kept", set_size<&L::stdout_bytes, 1, kGiB>},
    {"stderr-bytes", "SIZE", "10M", kLimits, "standard error kept", set_size<&L::stderr_bytes, 1, kGiB>},
    {"artifacts", "N", "1000", kLimits, "files returned", set_number<&L::artifacts, 1, 100'000>},
    {"artifacts-bytes", "SIZE", "10M", kLimits, "all files returned", set_size<&L::artifacts_bytes, 1, kGiB>},
};

struct GroupTitle {
  SettingGroup group;
  std::string_view title;
};
constexpr GroupTitle kTitles[] = {{kService, "Service"}, {kAccess, "Access"}, {kSandbox, "Sandbox"},
                                  {kLimits, "Limits (SIZE: bytes, or 512K, 256M, 1.5G)"}};

constexpr std::string_view kUsage = R"(CodeRunner runs Python scripts in sandboxes.

  coderunner [serve] [SETTINGS]         answer POST /api/run
  coderunner run SCRIPT [--input FILE...] [--output DIR] [--timeout SECONDS] [SETTINGS] [-- ARGS...]
                                        run one script without HTTP; files go to ./input/, come from ./output/
  coderunner --check [--json] [SETTINGS]
                                        say what the sandbox is worth on this machine, layer by layer

Each setting is a flag, a variable and a line of a file: --queue-bytes 256M is CODERUNNER_QUEUE_BYTES=256M
and "queue-bytes = 256M". A flag beats a variable, a variable beats the file, the file beats the [default].
)";

}  // namespace

std::span<const SettingRow> setting_rows() { return kRows; }

std::string variable_name(const SettingRow& row) {
  std::string name = "CODERUNNER_";
  for (const char c : row.name) name += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

std::string make_help_text() {
  const auto line = [](std::string_view flag, std::string_view help) {
    return fmt::format("  {:<32}  {}\n", flag, help);
  };
  std::string text(kUsage);
  for (const GroupTitle& title : kTitles) {
    text += fmt::format("\n{}\n", title.title);
    for (const SettingRow& row : kRows) {
      if (row.group != title.group) continue;
      text += line(fmt::format("--{} {}", row.name, row.takes), fmt::format("{} [{}]", row.help, row.default_text));
    }
  }
  text += "\nOther\n";
  text += line("--config FILE", "read settings from a file, one NAME = VALUE a line, # comments");
  text += line("--completion bash", "print what completes this command line: source <(coderunner --completion bash)");
  text += line("--version", "print the version");
  text += line("-h, --help", "print this");
  return text;
}

}  // namespace coderunner
