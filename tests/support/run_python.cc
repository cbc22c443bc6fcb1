// Role: fork, exec, wait for /usr/bin/python3.
// Callers: see run_python.h.
// Law: only async-signal-safe calls between fork and exec.
#include "tests/support/run_python.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/child.h"
#include "common/sys.h"

namespace coderunner::test {

namespace {

Result<UniqueFd> make_memory_file(std::string_view contents) {
  UniqueFd file(static_cast<int>(TRY(sys::retry("memfd_create", [] { return ::memfd_create("test", MFD_CLOEXEC); }))));
  TRY(sys::write_all(file.get(), contents));
  TRY(sys::retry("lseek", [&] { return ::lseek(file.get(), 0, SEEK_SET); }));
  return file;
}

}  // namespace

Result<std::string> run_python(const std::string& script, std::string_view input) {
  const UniqueFd from = TRY(make_memory_file(input));
  const UniqueFd to = TRY(make_memory_file(""));
  const pid_t pid = static_cast<pid_t>(TRY(sys::retry("fork", [] { return ::fork(); })));
  if (pid == 0) {
    ::dup2(from.get(), STDIN_FILENO);
    ::dup2(to.get(), STDOUT_FILENO);
    ::execl("/usr/bin/python3", "python3", "-I", "-c", script.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  Child python = TRY(Child::adopt(pid));
  const auto status = TRY(python.wait(Deadline::in(Millis(120'000))));
  if (!status) return fail(Fault::kInternal, "python3: no end after two minutes");
  if (status->code != 0 || status->signal != 0) {
    return fail(Fault::kInternal, fmt::format("python3: exit {} signal {}", status->code, status->signal));
  }
  TRY(sys::retry("lseek", [&] { return ::lseek(to.get(), 0, SEEK_SET); }));
  return sys::read_all(to.get(), 256 << 20);
}

}  // namespace coderunner::test
