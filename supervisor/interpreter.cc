// Role: the candidates, the question, and what follows from the answer.
// Callers: see interpreter.h.
#include "supervisor/interpreter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "common/child.h"
#include "common/sys.h"

namespace coderunner {

namespace {

namespace fs = std::filesystem;

constexpr Millis kProbeLimit{10'000};
constexpr std::size_t kAnswerLimit = 1 << 20;
constexpr int kOldestMinor = 8, kNewestMinor = 13;
constexpr std::string_view kOwnPython = "python/bin/python3";  // beside the programs: scripts/package puts it there
constexpr std::string_view kDefaultPackages = ".python_packages/lib/site-packages";

constexpr const char* kBootstrap =
#include "bootstrap.inc"
    ;
// The same, compiled when this was built, as hexadecimal digits: the first 8 are the byte code's version (PEP 552).
constexpr std::string_view kCompiledBootstrap =
#include "bootstrap_code.inc"
    ;
constexpr std::size_t kMagicDigits = 8;

// Key and value in turn, each ended by NUL. The imports bring in the libraries that the standard modules link to, by
// way of the modules in C alone; the system's own interpreter has them in /usr, which is shown whole, and is spared
// that. And the end spares it taking everything apart again. Together half of what it takes.
// Its first argument, bootstrap.py, it compiles, so that no interpreter of the service has to at its start: into a file
// that is not compared with its source. Unless it runs the byte code that the second one names: that is here already.
constexpr const char* kProbe = R"(
import marshal, os, sys
linked = ("_ssl", "_sqlite3", "_ctypes", "_hashlib", "_lzma", "_bz2", "zlib", "_uuid")
for name in linked if sys.base_prefix != "/usr" else ():
    try:
        __import__(name)
    except Exception:
        pass
rows = [("version", "%d.%d.%d" % sys.version_info[:3]), ("executable", sys.executable),
        ("real_executable", os.path.realpath(sys.executable))]
rows += [("prefix", p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)]
rows += [("search_path", p) for p in sys.path]
with open("/proc/self/maps", "rb") as maps:
    files = {line.rstrip(b"\n").split(None, 5)[5] for line in maps if line.count(b"/")}
rows += [("library", f) for f in sorted(files) if b".so" in f]
rows += [("bootstrap_name", "sitecustomize.%s.pyc" % sys.implementation.cache_tag)]
magic = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
if magic.hex() != sys.argv[2]:
    code = marshal.dumps(compile(sys.argv[1], "sitecustomize.py", "exec"))
    rows += [("bootstrap_code", (magic + (1).to_bytes(4, "little") + bytes(8) + code).hex())]
standard = getattr(sys, "stdlib_module_names", None)
if standard is None:  # before 3.10
    folder = os.path.dirname(os.__file__)
    folders = [place for place in (folder, folder + "/lib-dynload") if os.path.isdir(place)]
    standard = {name.partition(".")[0] for place in folders for name in os.listdir(place)}.union(
        sys.builtin_module_names)
rows += [("standard_module", name) for name in standard]
for key, value in rows:
    sys.stdout.buffer.write(os.fsencode(key) + b"\0" + os.fsencode(value) + b"\0")
sys.stdout.flush()
os._exit(0)
)";

// Where every program of the system finds its loader, its libraries and the shell.
constexpr std::array kSystemTrees = {"/usr", "/lib", "/lib64", "/bin", "/sbin"};

// What Python programs read of /etc. Nothing that tells about the host's users or network: the worker writes its own
// passwd, group and hosts.
constexpr std::array kEtcFiles = {
    "/etc/alternatives",                  // Debian's links from /usr/bin to the chosen program
    "/etc/fonts",                         // matplotlib, pillow through fontconfig
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/timezone",
    "/etc/matplotlibrc",
    "/etc/mime.types",                    // mimetypes
    "/etc/nsswitch.conf",
    "/etc/pki/ca-trust/extracted", "/etc/pki/tls/certs",  // ssl, where OpenSSL is built Red Hat's way
    "/etc/protocols", "/etc/services",    // socket.getservbyname
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
};

// What finds a name on the network, for scripts that may: resolv.conf(5), hosts(5), host.conf(5), gai.conf(5).
constexpr std::array kNetworkFiles = {"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf"};

// Trees that hold more than an interpreter: its parts are shown one by one instead.
bool is_too_broad(const fs::path& path) {
  static constexpr std::array kBroad = {"/",    "/boot", "/dev",  "/etc", "/home", "/media", "/mnt",
                                        "/opt", "/proc", "/root", "/run", "/srv",  "/sys",   "/tmp", "/var"};
  return std::ranges::find(kBroad, path) != kBroad.end() || path.parent_path() == "/home";
}

class PathSet {
 public:
  // The path and, where links are on the way, the place it stands for. What does not exist or is too broad is left out.
  void add(const fs::path& path) {
    if (!path.is_absolute()) return;
    insert(path.lexically_normal());
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (!error) insert(real);
  }
  // Sorted, none below another one.
  std::vector<std::string> minimal() {
    std::ranges::sort(paths_);
    std::vector<std::string> kept;
    for (const std::string& path : paths_) {
      const bool covered = std::ranges::any_of(kept, [&](const std::string& above) {
        return path == above || path.starts_with(above + "/");
      });
      if (!covered) kept.push_back(path);
    }
    return kept;
  }

 private:
  void insert(fs::path path) {
    if (!path.has_filename()) path = path.parent_path();  // "/opt/python/"
    std::error_code error;
    if (!is_too_broad(path) && fs::exists(path, error)) paths_.push_back(path);
  }
  std::vector<std::string> paths_;
};

// Started with /dev/null for input and errors, a minimal environment and default signals.
Result<Child> spawn_probe(const std::string& python, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output, 1);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);

  // -I: neither the working directory nor the user's own packages (they are not shown to scripts either).
  std::array<std::string, 6> arguments = {python, "-I", "-c", kProbe, kBootstrap,
                                          std::string(kCompiledBootstrap.substr(0, kMagicDigits))};
  std::array<char*, 7> argv{};
  std::ranges::transform(arguments, argv.begin(), [](std::string& argument) { return argument.data(); });
  std::array<std::string, 3> variables = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
                                          "PYTHONDONTWRITEBYTECODE=1"};
  std::array<char*, 4> environment = {variables[0].data(), variables[1].data(), variables[2].data(), nullptr};
  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, python.c_str(), &actions, &attributes, argv.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (code != 0) {
    const char* name = ::strerrorname_np(code);
    return fail(Fault::kInternal, name != nullptr ? name : fmt::format("errno {}", code));
  }
  return Child::adopt(pid);
}

Result<std::string> read_answer(int output, Deadline deadline) {
  std::string answer;
  std::array<char, 4096> chunk;
  for (;;) {
    pollfd entry{.fd = output, .events = POLLIN, .revents = 0};
    if (TRY(sys::poll({&entry, 1}, deadline)) == 0) return fail(Fault::kInternal, "it does not answer within 10 s");
    const auto count = TRY(sys::read_some(output, chunk));
    if (count && *count == 0) return answer;
    if (count) answer.append(chunk.data(), *count);
    if (answer.size() > kAnswerLimit) return fail(Fault::kInternal, "its answer is too long");
  }
}

// What hexadecimal digits say; empty when they are none.
std::string decode_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(digits.data() + at, digits.data() + at + 2, byte, 16);
    if (error != std::errc() || end != digits.data() + at + 2) return {};
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

Result<InterpreterFacts> parse_answer(std::string_view answer) {
  InterpreterFacts facts;
  while (!answer.empty()) {
    const std::size_t key_end = answer.find('\0');
    const std::size_t value_end = key_end == answer.npos ? answer.npos : answer.find('\0', key_end + 1);
    if (value_end == answer.npos) return fail(Fault::kInternal, "it answers something else than asked: no Python?");
    const std::string_view key = answer.substr(0, key_end);
    std::string value(answer.substr(key_end + 1, value_end - key_end - 1));
    answer.remove_prefix(value_end + 1);
    if (key == "version") facts.version = std::move(value);
    if (key == "executable") facts.executable = std::move(value);
    if (key == "real_executable") facts.real_executable = std::move(value);
    if (key == "prefix") facts.prefixes.push_back(std::move(value));
    if (key == "search_path") facts.search_path.push_back(std::move(value));
    if (key == "bootstrap_name" && value.find('/') == value.npos) facts.bootstrap_name = std::move(value);
    if (key == "bootstrap_code") facts.bootstrap_code = decode_hex(value);
    if (key == "standard_module") facts.standard_modules.push_back(std::move(value));
    if (key == "library") facts.libraries.push_back(std::move(value));
  }
  if (facts.version.empty() || !facts.executable.starts_with('/')) {
    return fail(Fault::kInternal, "it does not say its version and path: no Python?");
  }
  if (facts.bootstrap_code.empty()) facts.bootstrap_code = decode_hex(kCompiledBootstrap);
  std::ranges::sort(facts.standard_modules);
  return facts;
}

// A note when it is newer than what is known to work; refused when it is older.
Result<std::string> check_version(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2 || major != 3 || minor < kOldestMinor) {
    return fail(Fault::kInternal, fmt::format("Python {}: 3.{} or newer is needed", version, kOldestMinor));
  }
  if (minor <= kNewestMinor) return std::string();
  return fmt::format("Python {} is newer than 3.{}, the newest one that is tried", version, kNewestMinor);
}

std::vector<std::string> list_candidates(const InterpreterRequest& request) {
  if (!request.python.empty()) {
    std::error_code error;
    const fs::path absolute = fs::absolute(request.python, error);
    return {error ? request.python : absolute.string()};
  }
  std::vector<std::string> candidates;
  std::error_code error;
  // A package brings the interpreter that it was tried with.
  const fs::path own = fs::path(request.beside) / kOwnPython;
  if (!request.beside.empty() && fs::exists(own, error)) candidates.push_back(own);
  candidates.emplace_back("/usr/bin/python3");
  std::string_view rest = request.search;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    const fs::path place = fs::path(folder) / "python3";
    if (folder.starts_with('/') && fs::exists(place, error)) candidates.push_back(place);
  }
  candidates.emplace_back("/usr/local/bin/python3");
  for (int minor = kNewestMinor; minor >= kOldestMinor; --minor) {
    candidates.push_back(fmt::format("/usr/bin/python3.{}", minor));
  }
  return candidates;
}

Result<std::string> find_packages(const InterpreterRequest& request) {
  std::error_code error;
  if (!request.packages.empty()) {
    const fs::path real = fs::canonical(request.packages, error);
    if (error || !fs::is_directory(real, error)) {
      return fail(Fault::kInternal,
                  fmt::format("--packages: {} is not a directory that can be read", request.packages));
    }
    return real.string();
  }
  for (const fs::path& place : {fs::path(request.beside), fs::current_path(error)}) {
    const fs::path real = fs::canonical(place / kDefaultPackages, error);
    if (!error && fs::is_directory(real, error)) return real.string();
  }
  return std::string();
}

}  // namespace

Result<InterpreterFacts> ask_interpreter(const std::string& python) {
  Pipe output = TRY(sys::make_pipe());
  const Deadline deadline = Deadline::in(kProbeLimit);
  Child child = TRY(spawn_probe(python, output.write.get()));
  output.write.reset();
  const std::string answer = TRY(read_answer(output.read.get(), deadline));
  const auto status = TRY(child.wait(deadline));
  if (!status) return fail(Fault::kInternal, "it does not end within 10 s");
  if (status->signal != 0) return fail(Fault::kInternal, fmt::format("it ended by signal {}", status->signal));
  if (status->code != 0) return fail(Fault::kInternal, fmt::format("it ended with exit status {}", status->code));
  return parse_answer(answer);
}

std::vector<std::string> derive_read_only_paths(const InterpreterFacts& facts, NetworkMode network) {
  PathSet paths;
  for (const char* tree : kSystemTrees) paths.add(tree);
  for (const char* file : kEtcFiles) paths.add(file);
  if (network == NetworkMode::kHost)
    for (const char* file : kNetworkFiles) paths.add(file);
  std::error_code error;
  for (fs::directory_iterator entry("/etc", error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().native().starts_with("python3")) paths.add(entry->path());
  }
  for (const std::string& prefix : facts.prefixes) paths.add(prefix);
  for (const std::string& entry : facts.search_path) paths.add(entry);
  for (const std::string& library : facts.libraries) {
    paths.add(fs::path(library).parent_path());
    paths.add(library);
  }
  paths.add(facts.executable);
  paths.add(facts.real_executable);
  return paths.minimal();
}

Result<Interpreter> find_interpreter(const InterpreterRequest& request) {
  std::string packages = TRY(find_packages(request));
  std::string refused;
  for (const std::string& candidate : list_candidates(request)) {
    auto facts = ask_interpreter(candidate);
    auto note = facts ? check_version(facts->version) : std::unexpected(facts.error());
    if (!note) {
      refused += fmt::format("{}{}: {}", refused.empty() ? "" : "; ", candidate, note.error().message);
      continue;
    }
    if (!packages.empty()) facts->search_path.push_back(packages);
    return Interpreter{.path = facts->executable,
                       .version = facts->version,
                       .read_only_paths = derive_read_only_paths(*facts, request.network),
                       .packages = std::move(packages),
                       .bootstrap_name = facts->bootstrap_name,
                       .bootstrap_code = facts->bootstrap_code,
                       .standard_modules = std::move(facts->standard_modules),
                       .note = std::move(*note)};
  }
  return fail(Fault::kInternal, fmt::format("no usable Python: {}", refused));
}

}  // namespace coderunner
