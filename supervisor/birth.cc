// Role: vfork, the few calls that make a clean process of the child, execveat of the worker.
// Callers: see birth.h.
// Law: the child shares this process's memory until it execs (vfork(2)): it calls only what signal-safety(7) lists,
// or plain system calls, and writes nothing but its failure.
#include "supervisor/birth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

#include "common/sys.h"
#include "common/wire.h"

namespace coderunner {

namespace {

constexpr const char* kWorkerName = "coderunner-worker";
constexpr int kSocketFd = 3;
constexpr Millis kSetupLimit{5000};  // the socket's buffer takes all of Setup at once unless it is very long

// What the child needs and what it leaves behind; written and read on both sides of vfork.
struct ChildPlan {
  int program;
  int socket;
  int null;
  volatile const char* failed_call = nullptr;
  volatile int failure = 0;
};

void note_failure(ChildPlan& plan, const char* call) {
  plan.failure = sys::last_errno();
  plan.failed_call = call;
}

void reset_signals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);  // KILL and STOP refuse
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Runs in the child. Returns only when something failed.
void become_worker(ChildPlan& plan) {
  ::setsid();
  reset_signals();
  if (::chdir("/") == -1) return note_failure(plan, "chdir");
  if (::dup2(plan.null, 0) == -1 || ::dup2(plan.null, 1) == -1) return note_failure(plan, "dup2(/dev/null)");
  // The program and the socket were put above kSocketFd beforehand, so this overwrites neither.
  if (::dup2(plan.socket, kSocketFd) == -1) return note_failure(plan, "dup2(socket)");
  // Marked and not closed, because the program's own descriptor is needed for exec. CLOSE_RANGE_CLOEXEC: Linux 5.11.
  if (::syscall(SYS_close_range, kSocketFd + 1, ~0U, CLOSE_RANGE_CLOEXEC) == -1) {
    return note_failure(plan, "close_range");
  }
  char name[] = "coderunner-worker";
  char socket[] = "--socket";
  char room[] = "                                ";  // a process title is written over the arguments
  char* argv[] = {name, socket, room, nullptr};
  char* environment[] = {nullptr};
  ::execveat(plan.program, "", argv, environment, AT_EMPTY_PATH);
  note_failure(plan, "execveat");
}

// All signals stay blocked across vfork: a handler that ran in the child would run on this process's memory.
// noinline keeps vfork's frame apart from frames with owners in them.
[[gnu::noinline]] pid_t start_child(ChildPlan& plan) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::vfork();
  if (pid == 0) {
    become_worker(plan);
    ::_exit(127);
  }
  if (pid == -1) note_failure(plan, "vfork");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return pid;
}

// A copy of the descriptor that lies above those the child overwrites.
Result<UniqueFd> lift(int fd) {
  return UniqueFd(static_cast<int>(TRY(sys::retry("fcntl(F_DUPFD_CLOEXEC)", [&] {
    return ::fcntl(fd, F_DUPFD_CLOEXEC, kSocketFd + 1);
  }))));
}

Error birth_error(const WorkerProgram& program, const ChildPlan& plan) {
  const char* code = ::strerrorname_np(plan.failure);
  const char* cure = plan.failure == EACCES ? " (the service's user must be able to execute it)" : "";
  const char* call = const_cast<const char*>(plan.failed_call);
  return {Fault::kSandbox, fmt::format("{}: {}: {}{}", program.path, call, code == nullptr ? "?" : code, cure)};
}

}  // namespace

Result<WorkerProgram> open_worker(const std::string& path) {
  UniqueFd file = TRY(sys::open(path, O_PATH));
  return WorkerProgram{path, std::move(file)};
}

Result<WorkerProgram> find_worker() {
  std::error_code ignored;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  const std::array places = {here / kWorkerName, here.parent_path() / "worker" / kWorkerName};
  for (const auto& place : places) {
    if (std::filesystem::is_regular_file(place, ignored)) return open_worker(place);
  }
  return fail(Fault::kInternal, fmt::format("{} is neither at {} nor at {}", kWorkerName, places[0].string(),
                                            places[1].string()));
}

Result<Newborn> start_worker(const WorkerProgram& program, const WorkerSetup& setup) {
  Pipe ends = TRY(sys::make_socket_pair());
  const UniqueFd socket = TRY(lift(ends.write.get()));
  ends.write.reset();
  const UniqueFd file = TRY(lift(program.file.get()));
  const UniqueFd null = TRY(sys::open("/dev/null", O_RDWR));
  const UniqueFd high_null = TRY(lift(null.get()));

  ChildPlan plan{.program = file.get(), .socket = socket.get(), .null = high_null.get()};
  const pid_t pid = start_child(plan);
  if (pid == -1) return std::unexpected(birth_error(program, plan));
  Child child = TRY(Child::adopt(pid));
  Newborn worker{std::move(child), Channel(std::move(ends.read))};
  // vfork returned: the child has exec'd or is ending, so its word on the failure is final.
  if (plan.failed_call != nullptr) return std::unexpected(birth_error(program, plan));
  TRY(worker.channel.send(FrameType::kSetup, encode(setup), Deadline::in(kSetupLimit)));
  return worker;
}

}  // namespace coderunner
