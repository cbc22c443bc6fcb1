// Role: flags, variables, file and defaults: each row read from each source, ranges, precedence, and the help text.
#include "supervisor/settings.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/wire.h"

namespace coderunner {
namespace {

using Words = std::vector<std::string>;

Result<Settings> parse(const Words& arguments, const Words& variables = {}) {
  std::vector<const char*> argv{"coderunner"}, environment;
  for (const std::string& word : arguments) argv.push_back(word.c_str());
  for (const std::string& word : variables) environment.push_back(word.c_str());
  return parse_settings(argv, environment);
}

std::string error_of(const Result<Settings>& result) { return result ? "accepted" : result.error().message; }

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// A file that is gone at the end of its test.
class ConfigFile {
 public:
  explicit ConfigFile(std::string_view text)
      : path_(std::filesystem::temp_directory_path() / fmt::format("coderunner-settings-test-{}", ::getpid())) {
    std::ofstream(path_) << text;
  }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  ~ConfigFile() { std::filesystem::remove(path_); }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// Everything that a row can set, as text.
std::string describe(Settings s) {
  const auto joined = [](const Words& words) { return fmt::format("{}", fmt::join(words, ",")); };
  const Words parts{s.listen_host, std::to_string(s.listen_port), std::to_string(s.workers), std::to_string(s.queue),
                    std::to_string(s.queue_bytes), std::to_string(s.grace_s), s.python, s.packages,
                    std::to_string(static_cast<int>(s.runner)), std::to_string(static_cast<int>(s.sandbox)),
                    std::to_string(static_cast<int>(s.network)), s.user, joined(s.preload), joined(s.api_keys),
                    joined(s.allow_origins), joined(s.trusted_proxies), encode(s.limits)};
  return fmt::format("{}", fmt::join(parts, " "));
}

struct RowValues {
  std::string_view name;
  std::string_view other;  // accepted, and not the default
  std::vector<std::string_view> edges;
  std::vector<std::string_view> wrong;
};

// One entry a setting.
const std::vector<RowValues> kValues = {
    {"listen", "[::1]:0", {"localhost:0", "0.0.0.0:65535", "[::]:80", "a-b.example:80"},
     {"", "7071", ":7071", "localhost", "localhost:", "localhost:65536", "localhost:-1", "localhost:-0", "localhost:+1",
      "localhost:7x", "::1:7071", "[::1]", "[]:1", "[::1:1", "a]:1"}},
    {"workers", "3", {"1", "1024"}, {"", "0", "1025", "-1", "+1", "1.5", "x", "3x", "3 3", "99999999999999999999"}},
    {"queue", "7", {"0", "100000"}, {"100001", "-1", "1K"}},
    {"queue-bytes", "512M", {"1M", "64G", "1.5G"}, {"1048575", "64.1G", "x", "M", "-1M", "1T"}},
    {"grace", "5", {"0", "3600"}, {"3601"}},
    {"api-key", "k1,k2", {"a", " a , b ", "a,"}, {"", ",", " "}},
    {"allow-origin", "https://a.example", {"http://a:1,https://b"},
     {"", "*", "a.example", "https://a/", "null", "http://a,b"}},
    {"trusted-proxy", "10.0.0.1,::1", {"127.0.0.1"}, {"", "10.0.0", "10.0.0.0/8", "proxy.example"}},
    {"runner", "fresh", {"warm"}, {"", "cold"}},
    {"preload", "json,numpy?", {"none", "concurrent.futures"}, {"", ",", "a b", "a;b", "1a", "?"}},
    {"python", "/opt/python3", {"/"}, {"", "python3", "./python3"}},
    {"packages", "/opt/site-packages", {}, {"", "site-packages"}},
    {"sandbox", "strict", {"auto", "reduced"}, {"", "full", "Strict"}},
    {"network", "none", {"host"}, {"", "all"}},
    {"user", "runner", {}, {""}},
    {"max-timeout", "1000", {"1", "86400"}, {"0", "86401", "5s"}},
    {"default-timeout", "10", {"1", "300"}, {"0", "86401"}},
    {"memory", "2G", {"64M", "1024G"}, {"67108863", "1025G"}},
    {"processes", "64", {"4", "65536"}, {"3", "65537"}},
    {"scratch", "1G", {"1M", "64G"}, {"1048575", "65G"}},
    {"scratch-inodes", "100", {"64", "10000000"}, {"63", "10000001"}},
    {"descriptors", "256", {"16", "1048576"}, {"15", "1048577"}},
    {"script-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
    {"files", "5", {"1", "10000"}, {"0", "10001"}},
    {"file-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
    {"files-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
    {"body-bytes", "1M", {"1K", "1G"}, {"1023", "2G"}},
    {"stdout-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
    {"stderr-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
    {"artifacts", "5", {"1", "100000"}, {"0", "100001"}},
    {"artifacts-bytes", "1M", {"1", "1G"}, {"0", "2G"}},
};

TEST_CASE("every row is tested, and every tested row is there") {
  std::vector<std::string_view> rows, tested;
  for (const SettingRow& row : setting_rows()) rows.push_back(row.name);
  for (const RowValues& values : kValues) tested.push_back(values.name);
  CHECK(rows == tested);
}

TEST_CASE("each setting is read alike from flag, variable and file") {
  for (const RowValues& values : kValues) {
    const auto rows = setting_rows();
    const SettingRow& row = *std::ranges::find(rows, values.name, &SettingRow::name);
    const std::string variable = variable_name(row);
    auto accepted = values.edges;
    accepted.push_back(values.other);
    for (const std::string_view value : accepted) {
      CAPTURE(variable);
      CAPTURE(value);
      const ConfigFile file(fmt::format("{} = {}\n", values.name, value));
      const auto by_flag = parse({fmt::format("--{}={}", values.name, value)});
      const auto by_variable = parse({}, {fmt::format("{}={}", variable, value)});
      const auto by_file = parse({"--config", file.path()});
      REQUIRE_MESSAGE(by_flag.has_value(), error_of(by_flag));
      REQUIRE_MESSAGE(by_variable.has_value(), error_of(by_variable));
      REQUIRE_MESSAGE(by_file.has_value(), error_of(by_file));
      CHECK(describe(*by_flag) == describe(*by_variable));
      CHECK(describe(*by_flag) == describe(*by_file));
      const bool is_default = value == row.default_text;
      CHECK((describe(*by_flag) == describe(Settings{})) == is_default);
    }
  }
}

TEST_CASE("a wrong value is refused with its source") {
  for (const RowValues& values : kValues) {
    const auto rows = setting_rows();
    const SettingRow& row = *std::ranges::find(rows, values.name, &SettingRow::name);
    for (const std::string_view value : values.wrong) {
      CAPTURE(row.name);
      CAPTURE(value);
      const ConfigFile file(fmt::format("# first line\n{} = {}\n", values.name, value));
      const std::string in_file = error_of(parse({"--config", file.path()}));
      CHECK(in_file.starts_with(fmt::format("{}:2: {}: ", file.path(), values.name)));
      if (value.empty()) continue;  // a flag without a value and an empty variable have cases of their own
      const std::string flag = fmt::format("--{}", values.name);
      CHECK(error_of(parse({flag, std::string(value)})).starts_with(flag + ": "));
      const std::string variable = variable_name(row);
      CHECK(error_of(parse({}, {fmt::format("{}={}", variable, value)})).starts_with(variable + ": "));
    }
  }
}

TEST_CASE("the default shown is the default") {
  for (const SettingRow& row : setting_rows()) {
    constexpr std::string_view kWords[] = {"one a core", "first usable"};
    if (row.takes == kTakesList || std::ranges::find(kWords, row.default_text) != std::end(kWords)) continue;
    CAPTURE(row.name);
    Settings settings;
    REQUIRE(row.set(settings, row.default_text));
    CHECK(describe(settings) == describe(Settings{}));
  }
}

TEST_CASE("flag beats variable beats file beats default") {
  const ConfigFile file("queue = 1\nworkers = 1\ngrace=1\n");
  const auto settings =
      parse({"--config", file.path(), "--queue", "3"}, {"CODERUNNER_QUEUE=2", "CODERUNNER_WORKERS=2"});
  REQUIRE(settings);
  CHECK(settings->queue == 3);
  CHECK(settings->workers == 2);
  CHECK(settings->grace_s == 1);
  CHECK(settings->limits.files == Limits{}.files);
}

TEST_CASE("a wrong value is told even where a stronger source overrides it") {
  CHECK(error_of(parse({"--queue", "3"}, {"CODERUNNER_QUEUE=x"})).starts_with("CODERUNNER_QUEUE: "));
}

TEST_CASE("variables: an empty one is not set, others are not ours") {
  const auto settings =
      parse({}, {"CODERUNNER_QUEUE=", "CODERUNNER_QUEUEX=x", "XCODERUNNER_QUEUE=1", "coderunner_queue=1",
                 "CODERUNNER_API_KEY=a=b", "QUEUE=1", "=", ""});
  REQUIRE_MESSAGE(settings.has_value(), error_of(settings));
  CHECK(settings->queue == 256);
  CHECK(settings->api_keys == Words{"a=b"});
}

TEST_CASE("the file has comments, white space and one setting a line") {
  const ConfigFile file("# all\n\n  queue=5   # five\n\tgrace =\t7\r\napi-key = a#b, c\n\t# end");
  const auto settings = parse({"serve", "--config", file.path()});
  REQUIRE_MESSAGE(settings.has_value(), error_of(settings));
  CHECK(settings->queue == 5);
  CHECK(settings->grace_s == 7);
  CHECK(settings->api_keys == Words{"a#b", "c"});
  CHECK(parse({}, {"CODERUNNER_CONFIG=" + file.path()})->queue == 5);

  struct Row {
    std::string_view text, says;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"queue 5", ":1: "}, {"\nqeue = 5", ":2: "}, {"queue=1\nqueue=1", "twice"}, {"config = /x", ":1: "},
           {"--queue = 5", ":1: "}, {"= 5", ":1: "}}) {
    CAPTURE(row.text);
    const ConfigFile wrong(row.text);
    CHECK(contains(error_of(parse({"--config", wrong.path()})), row.says));
  }
  CHECK(error_of(parse({"--config", "/nonexistent/file"})).starts_with("--config: "));
}

TEST_CASE("the last flag counts, and lists add up") {
  const auto settings = parse({"--queue", "1", "--queue", "2", "--api-key", "a,b", "--api-key=c"});
  REQUIRE(settings);
  CHECK(settings->queue == 2);
  CHECK(settings->api_keys == Words{"a", "b", "c"});
}

TEST_CASE("the functions host sets the port when nothing else does") {
  const std::string host_port = "FUNCTIONS_CUSTOMHANDLER_PORT=5000";
  CHECK(parse({}, {host_port})->listen_port == 5000);
  CHECK(parse({}, {host_port})->listen_host == "127.0.0.1");
  CHECK(parse({}, {"FUNCTIONS_HTTPWORKER_PORT=4000"})->listen_port == 4000);
  CHECK(parse({}, {"FUNCTIONS_HTTPWORKER_PORT=4000", host_port})->listen_port == 5000);
  CHECK(parse({"--listen", "localhost:1"}, {host_port})->listen_port == 1);
  CHECK(parse({}, {host_port, "CODERUNNER_LISTEN=localhost:2"})->listen_port == 2);
  const ConfigFile file("listen = localhost:3");
  CHECK(parse({"--config", file.path()}, {host_port})->listen_port == 3);
  for (const std::string_view port : {"0", "65536", "x", "1:2", "80 "}) {
    CAPTURE(port);
    const std::string error = error_of(parse({}, {fmt::format("FUNCTIONS_CUSTOMHANDLER_PORT={}", port)}));
    CHECK(error.starts_with("FUNCTIONS_CUSTOMHANDLER_PORT: "));
  }
}

TEST_CASE("the functions host and its site are known by the environment, whatever sets the port") {
  struct Row {
    Words variables;
    Starter starter;
    Words origins;
  };
  const std::string port = "FUNCTIONS_CUSTOMHANDLER_PORT=5000", old_port = "FUNCTIONS_HTTPWORKER_PORT=5000";
  const Row rows[] = {
      {{}, Starter::kOperator, {}},
      {{"WEBSITE_HOSTNAME=a.example"}, Starter::kOperator, {}},
      {{"FUNCTIONS_CUSTOMHANDLER_PORT="}, Starter::kOperator, {}},
      {{port}, Starter::kFunctionsHost, {}},
      {{old_port}, Starter::kFunctionsHost, {}},
      {{port, "WEBSITE_HOSTNAME=a.example"}, Starter::kFunctionsHost, {"https://a.example"}},
      {{port, "WEBSITE_HOSTNAME=a b"}, Starter::kFunctionsHost, {}},
      {{port, "WEBSITE_HOSTNAME=localhost:7071"}, Starter::kFunctionsTools, {"http://localhost:7071"}},
      {{port, "WEBSITE_HOSTNAME=127.0.0.1:7071"}, Starter::kFunctionsTools, {"http://127.0.0.1:7071"}},
  };
  for (const Row& row : rows) {
    for (const Words& flags : {Words{}, Words{"--listen", "localhost:1"}}) {
      CAPTURE(row.variables);
      const auto settings = parse(flags, row.variables);
      REQUIRE(settings);
      CHECK(settings->starter == row.starter);
      CHECK(settings->allow_origins == row.origins);
    }
  }
}

TEST_CASE("the default timeout stays below the highest") {
  CHECK(contains(error_of(parse({"--default-timeout", "301"})), "max-timeout"));
  CHECK(contains(error_of(parse({"--default-timeout", "20", "--max-timeout", "10"})), "max-timeout"));
  CHECK(parse({"--max-timeout", "10"})->limits.default_timeout_s == 10);
  CHECK(parse({"--max-timeout", "20", "--default-timeout", "20"})->limits.default_timeout_s == 20);
}

TEST_CASE("commands") {
  struct Row {
    Words arguments;
    Command command;
  };
  for (const Row& row : std::initializer_list<Row>{
           {{}, Command::kServe}, {{"serve"}, Command::kServe}, {{"--queue", "1"}, Command::kServe},
           {{"run", "a.py"}, Command::kRun}, {{"--help"}, Command::kHelp}, {{"-h"}, Command::kHelp},
           {{"serve", "--help"}, Command::kHelp}, {{"run", "--help"}, Command::kHelp},
           {{"--completion", "bash"}, Command::kCompletion},
           {{"--version"}, Command::kVersion}, {{"serve", "--version"}, Command::kVersion}}) {
    CAPTURE(fmt::format("{}", fmt::join(row.arguments, " ")));
    const auto settings = parse(row.arguments, {});
    REQUIRE_MESSAGE(settings.has_value(), error_of(settings));
    CHECK(settings->command == row.command);
    CHECK(settings->help_text.empty() == (row.command != Command::kHelp));
  }
  for (const Words& arguments : std::initializer_list<Words>{
           {"serves"}, {"--qeue", "1"}, {"--queue"}, {"serve", "x"}, {"serve", "--", "x"}, {"--", "x"}, {"run"},
           {"run", "a.py", "b"}, {"run", "a.py", "--listen", "a:1"}, {"run", "a.py", "--api-key", "k"}, {"--api-key="},
           {"run", "--", "a.py"}, {"--completion", "fish"}, {"--completion"}, {"--timeout", "5"},
           {"run", "a.py", "--timeout", "0"}}) {
    CAPTURE(fmt::format("{}", fmt::join(arguments, " ")));
    const auto settings = parse(arguments);
    REQUIRE_FALSE(settings.has_value());
    CHECK(settings.error().fault == Fault::kClient);
    CHECK_FALSE(settings.error().message.empty());
  }
}

TEST_CASE("run takes a script, files, an output folder, settings and arguments") {
  const Words arguments{"run",      "a.py", "--input",     "x.csv",     "y.csv", "--input", "z",
                        "--output", "out",  "--memory=1G", "--timeout", "900",   "--",      "serve",
                        "--help",   "--",   "-x",          ""};
  const auto settings = parse(arguments, {"CODERUNNER_PROCESSES=64"});
  REQUIRE_MESSAGE(settings.has_value(), error_of(settings));
  CHECK(settings->run_script == "a.py");
  CHECK(settings->run_inputs == Words{"x.csv", "y.csv", "z"});
  CHECK(settings->run_output == "out");
  CHECK(settings->run_args == Words{"serve", "--help", "--", "-x", ""});
  CHECK(settings->limits.memory_bytes == kGiB);
  CHECK(settings->limits.processes == 64);
  CHECK(settings->limits.default_timeout_s == 900);
  CHECK(settings->limits.max_timeout_s == 900);
  CHECK(parse({"--memory", "1G", "run", "serve"})->run_script == "serve");
  CHECK(parse({"run", "a.py", "--timeout", "5"})->limits.max_timeout_s == 300);
}

TEST_CASE("the help text has a line for every setting, with its default, and fits a terminal") {
  const std::string help = parse({"--help"})->help_text;
  for (const SettingRow& row : setting_rows()) {
    CAPTURE(row.name);
    const std::size_t start = help.find(fmt::format("\n  --{} {} ", row.name, row.takes));
    REQUIRE(start != help.npos);
    const std::string line = help.substr(start + 1, help.find('\n', start + 1) - start - 1);
    CHECK(contains(line, row.help));
    CHECK(line.ends_with(fmt::format("[{}]", row.default_text)));
  }
  for (std::string_view rest = help; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1)) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    CAPTURE(line);
    CHECK(line.size() <= 120);
  }
  for (const std::string_view name : {"--config", "--version", "--help", "run SCRIPT", "--check"})
    CHECK(contains(help, name));
  for (const std::string_view name : {"host]"}) CHECK_FALSE(contains(help, name));
}

TEST_CASE("--check is a command of its own, with settings and --json") {
  CHECK(parse({"--check"})->command == Command::kCheck);
  CHECK_FALSE(parse({"--check"})->check_json);
  const auto json = parse({"--check", "--json", "--sandbox", "reduced"});
  REQUIRE_MESSAGE(json.has_value(), error_of(json));
  CHECK(json->command == Command::kCheck);
  CHECK(json->check_json);
  CHECK(json->sandbox == SandboxMode::kReduced);
  for (const Words& words : {Words{"--json"}, Words{"--check", "serve"}, Words{"--check", "run", "a.py"},
                             Words{"--check", "--", "x"}}) {
    CHECK_FALSE(parse(words).has_value());
  }
}

TEST_CASE("a refused key is not repeated") {
  for (const auto& result : {parse({"--allow-origin", "SECRET"}), parse({"--api-key", " , "})}) {
    REQUIRE_FALSE(result.has_value());
    CHECK_FALSE(contains(result.error().message, "SECRET"));
  }
}

}  // namespace
}  // namespace coderunner
