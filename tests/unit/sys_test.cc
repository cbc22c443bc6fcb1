// Role: the promises of sys.h: named errors, close-on-exec, EINTR, limits.
#include "common/sys.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cstdlib>
#include <filesystem>

namespace coderunner {
namespace {

using namespace std::string_literals;

// A directory of this test alone.
class TempDir {
 public:
  TempDir() {
    std::string pattern = std::filesystem::temp_directory_path() / "sys_test.XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void create(const std::string& path, std::string_view text) {
  const UniqueFd file = sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0600).value();
  REQUIRE(sys::write_all(file.get(), text).has_value());
}

bool closes_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }
bool blocks(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

TEST_CASE("an error names the call, its object and errno") {
  const TempDir dir;
  const auto missing = sys::open(dir / "missing", O_RDONLY);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().fault == Fault::kInternal);
  CHECK(missing.error().message == "openat(\"" + dir / "missing" + "\"): ENOENT");

  const UniqueFd parent = sys::open(dir / "", O_RDONLY | O_DIRECTORY).value();
  CHECK(sys::open_at(parent.get(), "a.csv", O_RDONLY).error().message == "openat(\"a.csv\"): ENOENT");
  CHECK(sys::open_at(parent.get(), "a\n\xFF", O_RDONLY).error().message == "openat(\"a\\n\xEF\xBF\xBD\"): ENOENT");

  char byte = 0;
  CHECK(sys::read_some(-1, {&byte, 1}).error().message == "read: EBADF");
  CHECK(sys::write_some(-1, "x").error().message == "write: EBADF");
  CHECK(sys::set_nonblocking(-1, true).error().message == "fcntl(F_GETFL): EBADF");
  CHECK(sys::retry("close", [] { return ::close(-1); }).error().message == "close: EBADF");
  CHECK(sys::last_errno() == EBADF);
  CHECK(sys::read_file(dir / "").error().message == "read(\"" + dir / "" + "\"): EISDIR");
}

TEST_CASE("open_at opens beneath the directory with the mode that it is given") {
  const TempDir dir;
  const UniqueFd parent = sys::open(dir / "", O_RDONLY | O_DIRECTORY).value();
  const UniqueFd file = sys::open_at(parent.get(), "new", O_WRONLY | O_CREAT | O_EXCL, 0400).value();
  struct stat status {};
  REQUIRE(::stat((dir / "new").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0400);
}

TEST_CASE("every descriptor is closed on exec") {
  const TempDir dir;
  create(dir / "file", "");
  const UniqueFd file = sys::open(dir / "file", O_RDONLY).value();
  const Pipe pipe = sys::make_pipe().value();
  const Pipe pair = sys::make_socket_pair().value();
  for (const int fd : {file.get(), pipe.read.get(), pipe.write.get(), pair.read.get(), pair.write.get()}) {
    CHECK(closes_on_exec(fd));
    CHECK(blocks(fd));
  }
}

TEST_CASE("a descriptor is made non-blocking and blocking again") {
  const Pipe pipe = sys::make_pipe().value();
  REQUIRE(sys::set_nonblocking(pipe.read.get(), true).has_value());
  CHECK_FALSE(blocks(pipe.read.get()));
  REQUIRE(sys::set_nonblocking(pipe.read.get(), true).has_value());
  CHECK_FALSE(blocks(pipe.read.get()));
  REQUIRE(sys::set_nonblocking(pipe.read.get(), false).has_value());
  CHECK(blocks(pipe.read.get()));
}

TEST_CASE("read_some tells nothing there, some bytes and the end apart") {
  Pipe pipe = sys::make_pipe().value();
  REQUIRE(sys::set_nonblocking(pipe.read.get(), true).has_value());
  char bytes[8];
  CHECK(sys::read_some(pipe.read.get(), bytes).value() == std::nullopt);
  CHECK(sys::write_some(pipe.write.get(), "abc").value() == 3);
  CHECK(sys::read_some(pipe.read.get(), bytes).value() == 3);
  CHECK(std::string_view(bytes, 3) == "abc");
  pipe.write.reset();
  CHECK(sys::read_some(pipe.read.get(), bytes).value() == 0);
}

TEST_CASE("write_some tells a full pipe from one without a reader") {
  Pipe pipe = sys::make_pipe().value();
  REQUIRE(sys::set_nonblocking(pipe.write.get(), true).has_value());
  const std::string block(4096, 'x');
  bool full = false;
  for (int i = 0; i < 10'000 && !full; ++i) full = sys::write_some(pipe.write.get(), block).value() == std::nullopt;
  CHECK(full);
  CHECK(sys::write_all(pipe.write.get(), "x").error().message == "write: EAGAIN");
  const auto old_handler = ::signal(SIGPIPE, SIG_IGN);
  pipe.read.reset();
  CHECK(sys::write_some(pipe.write.get(), "x").error().message == "write: EPIPE");
  ::signal(SIGPIPE, old_handler);
}

TEST_CASE("files are read up to the limit and refused above it") {
  const TempDir dir;
  std::string text(200'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
  create(dir / "file", text);
  CHECK((sys::read_file(dir / "file").value() == text));
  CHECK((sys::read_file(dir / "file", text.size()).value() == text));
  const auto above = sys::read_file(dir / "file", text.size() - 1);
  REQUIRE_FALSE(above.has_value());
  CHECK(above.error().message == "read(\"" + dir / "file" + "\"): more than 199999 bytes");
  create(dir / "empty", "");
  CHECK(sys::read_file(dir / "empty", 0).value().empty());
  CHECK_FALSE(sys::read_file("/proc/self/status", 0).has_value());
  CHECK(sys::read_file("/proc/self/status").value().starts_with("Name:"));  // a file whose size is said to be 0
}

TEST_CASE("read_all reads to the end of a pipe") {
  Pipe pipe = sys::make_pipe().value();
  REQUIRE(sys::write_all(pipe.write.get(), "to the end").has_value());
  pipe.write.reset();
  CHECK(sys::read_all(pipe.read.get(), 10).value() == "to the end");
}

TEST_CASE("write_file replaces the contents of a file that exists and makes none") {
  const TempDir dir;
  create(dir / "file", "a long old text");
  REQUIRE(sys::write_file(dir / "file", "new").has_value());
  CHECK(sys::read_file(dir / "file").value() == "new");
  CHECK(sys::write_file(dir / "missing", "x").error().message == "openat(\"" + dir / "missing" + "\"): ENOENT");
  CHECK_FALSE(std::filesystem::exists(dir / "missing"));
  CHECK(sys::write_file("/dev/full", "x").error().message == "write(\"/dev/full\"): ENOSPC");
}

TEST_CASE("poll says which entry is ready, or 0 once the deadline has passed") {
  const Pipe pipe = sys::make_pipe().value();
  pollfd entries[] = {{.fd = pipe.read.get(), .events = POLLIN, .revents = 0},
                      {.fd = pipe.write.get(), .events = POLLOUT, .revents = 0}};
  CHECK(sys::poll({entries, 1}, Deadline::in(Millis(0))).value() == 0);
  const Deadline soon = Deadline::in(Millis(20));
  CHECK(sys::poll({entries, 1}, soon).value() == 0);
  CHECK(soon.passed());  // never early
  CHECK(sys::poll(entries, Deadline::never()).value() == 1);
  CHECK(entries[0].revents == 0);
  CHECK(entries[1].revents == POLLOUT);
}

// A timer that interrupts what this process waits in, and on the third time writes the byte that it waits for.
volatile sig_atomic_t interruptions = 0;
volatile sig_atomic_t wake_fd = -1;
void interrupt(int) {
  interruptions = interruptions + 1;
  if (interruptions == 3) static_cast<void>(!::write(wake_fd, "!", 1));
}

template <class Call> void call_interrupted(int fd, Call&& call) {
  interruptions = 0;
  wake_fd = fd;
  struct sigaction action {}, old {};
  action.sa_handler = interrupt;  // without SA_RESTART
  REQUIRE(::sigaction(SIGALRM, &action, &old) == 0);
  const itimerval each{.it_interval = {0, 2000}, .it_value = {0, 2000}};
  REQUIRE(::setitimer(ITIMER_REAL, &each, nullptr) == 0);
  call();
  const itimerval none{};
  ::setitimer(ITIMER_REAL, &none, nullptr);
  ::sigaction(SIGALRM, &old, nullptr);
}

TEST_CASE("a signal ends no wait") {
  const Pipe pipe = sys::make_pipe().value();
  char byte = 0;
  call_interrupted(pipe.write.get(), [&] {
    CHECK(sys::read_some(pipe.read.get(), {&byte, 1}).value() == 1);
    CHECK(interruptions >= 3);
  });
  CHECK(byte == '!');
  call_interrupted(pipe.write.get(), [&] {
    pollfd entry{.fd = pipe.read.get(), .events = POLLIN, .revents = 0};
    CHECK(sys::poll({&entry, 1}, Deadline::never()).value() == 1);
    CHECK(interruptions >= 3);
  });
  CHECK(sys::read_some(pipe.read.get(), {&byte, 1}).value() == 1);
  call_interrupted(pipe.write.get(), [&] {
    CHECK(sys::retry("read", [&] { return ::read(pipe.read.get(), &byte, 1); }).value() == 1);
    CHECK(interruptions >= 3);
  });
}

TEST_CASE("a deadline that passes among signals still passes") {
  const Pipe pipe = sys::make_pipe().value(), other = sys::make_pipe().value();
  call_interrupted(other.write.get(), [&] {
    pollfd entry{.fd = pipe.read.get(), .events = POLLIN, .revents = 0};
    CHECK(sys::poll({&entry, 1}, Deadline::in(Millis(30))).value() == 0);
    CHECK(interruptions >= 1);
  });
}

}  // namespace
}  // namespace coderunner
