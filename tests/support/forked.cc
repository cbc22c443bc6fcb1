// Role: see forked.h.
#include "tests/support/forked.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "common/child.h"
#include "common/sys.h"

namespace coderunner::test {
namespace {

constexpr unsigned kPlainUser = 54321;  // nobody's, so that RLIMIT_NPROC counts only what the test makes

[[noreturn]] void answer(int pipe, const Piece& piece) {
  std::string text;
  try {
    text = piece();
  } catch (const std::exception& error) {
    text = fmt::format("exception: {}", error.what());
  }
  // A closing byte tells "all is well" from a process that died without a word.
  (void)sys::write_all(pipe, text.substr(0, 60'000) + "\n");
  ::_exit(0);
}

std::string listen(int pipe) {
  std::string text;
  const Deadline deadline = Deadline::in(Millis(120'000));
  char buffer[4096];
  while (text.empty() || text.back() != '\n') {
    pollfd entry{pipe, POLLIN, 0};
    if (sys::poll(std::span(&entry, 1), deadline).value_or(0) == 0) return "timed out";
    const auto got = sys::read_some(pipe, buffer);
    if (!got || got->value_or(0) == 0) return "its process ended without an answer";
    text.append(buffer, **got);
  }
  text.pop_back();
  return text;
}

std::string become_plain_user() {
  if (::geteuid() != 0) return {};
  if (::setgroups(0, nullptr) != 0 || ::setgid(kPlainUser) != 0 || ::setuid(kPlainUser) != 0)
    return sys::last_error("setuid").message;
  // A change of user clears the dumpable attribute, and with it /proc/self becomes root's (prctl(2)).
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) return sys::last_error("PR_SET_DUMPABLE").message;
  return {};
}

std::string enter_mount_namespace() {
  const unsigned user = ::geteuid(), group = ::getegid();
  if (::unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) return sys::last_error("unshare").message;
  if (user != 0) {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << fmt::format("{0} {0} 1", user);
    std::ofstream("/proc/self/gid_map") << fmt::format("{0} {0} 1", group);
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return {};
  return sys::last_error("mount(private)").message;
}

std::string prepared(std::string (*prepare)(), const Piece& piece) {
  return in_child([&] {
    const std::string trouble = prepare();
    return trouble.empty() ? piece() : trouble;
  });
}

}  // namespace

std::string in_child(const Piece& piece) {
  Result<Pipe> pipe = sys::make_pipe();
  if (!pipe) return pipe.error().message;
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return sys::last_error("fork").message;
  if (pid == 0) {
    pipe->read.reset();
    answer(pipe->write.get(), piece);
  }
  pipe->write.reset();
  const auto child = Child::adopt(pid);  // killed and reaped at the end
  if (!child) return child.error().message;
  return listen(pipe->read.get());
}

std::string as_plain_user(const Piece& piece) { return prepared(become_plain_user, piece); }
std::string with_mounts(const Piece& piece) { return prepared(enter_mount_namespace, piece); }

std::string mount_tmpfs(const std::string& path, unsigned long bytes, unsigned long inodes) {
  const std::string options = fmt::format("size={},nr_inodes={},mode=0700", bytes, inodes);
  if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) == 0) return {};
  return sys::last_error("mount(tmpfs)").message;
}

unsigned long tasks_of_user() {
  unsigned long tasks = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    struct stat owner{};
    std::error_code gone;
    if (::stat((entry.path() / "task").c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) continue;
    for (std::filesystem::directory_iterator task(entry.path() / "task", gone), end; !gone && task != end;
         task.increment(gone))
      ++tasks;
  }
  return tasks;
}

}  // namespace coderunner::test
