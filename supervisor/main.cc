// Role: settings -> the command that they name.
// Callers: people, service managers, scripts/serve.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <span>
#include <vector>

#include "common/sys.h"
#include "supervisor/check_command.h"
#include "supervisor/completion.h"
#include "supervisor/run_command.h"
#include "supervisor/serve_command.h"
#include "supervisor/settings.h"

namespace coderunner {

namespace {

// Whoever starts a program without 0, 1 or 2 open must not find its sockets there.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) != fd) ::_exit(1);
  }
}

// The bytes that ps shows: the kernel puts the arguments one behind the other (proc(5), /proc/pid/cmdline).
std::span<char> title_area(int argc, char** argv) {
  if (argc == 0) return {};
  char* const end = argv[argc - 1] + std::strlen(argv[argc - 1]) + 1;
  return {argv[0], end};
}

int print(const std::string& text) { return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0; }

int run_main(int argc, char** argv, char** environment) {
  open_standard_descriptors();
  std::size_t variables = 0;
  while (environment[variables] != nullptr) ++variables;
  const auto settings = parse_settings({argv, static_cast<std::size_t>(argc)}, {environment, variables});
  if (!settings) {
    std::fputs(fmt::format("coderunner: {}\n", settings.error().message).c_str(), stderr);
    return kExitUsage;
  }
  const std::span<char> title = title_area(argc, argv);
  switch (settings->command) {
    case Command::kServe: return serve_command(*settings, title);
    case Command::kRun: return run_command(*settings, title);
    case Command::kCheck: return check_command(*settings, title);
    case Command::kCompletion: return print(make_bash_completion());
    case Command::kHelp: return print(settings->help_text);
    case Command::kVersion: return print("coderunner " CODERUNNER_VERSION "\n");
  }
  return kExitUsage;
}

}  // namespace

}  // namespace coderunner

int main(int argc, char** argv, char** environment) { return coderunner::run_main(argc, argv, environment); }
