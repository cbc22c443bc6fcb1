// Role: what Landlock's rules allow and refuse, for each version of it that the running kernel can play.
// Law: every refused attempt has its twin without rules, where it succeeds.
#include "worker/landlock.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "common/sys.h"
#include "support/forked.h"
#include "support/scratch_dir.h"
#include "worker/jail.h"
#include "worker/privileges.h"

namespace coderunner {
namespace {

std::string outcome(long answer) { return answer == -1 ? strerrorname_np(sys::last_errno()) : "0"; }
long open_file(const std::string& path, int flags) { return ::open(path.c_str(), flags | O_CLOEXEC, 0600); }

// One place of each kind; whoever runs the test may do everything in all of them.
struct Places {
  Places() {
    directory.set_mode(".", 0777);
    for (const char* name : {"rw", "rw/sub", "ro", "other"}) {
      directory.make_dir(name);
      directory.set_mode(name, 0777);
    }
    for (const char* name : {"rw/file", "ro/file", "other/file"}) {
      directory.make_file(name, "text");
      directory.set_mode(name, 0666);
    }
  }
  [[nodiscard]] LandlockRules rules(NetworkMode network = NetworkMode::kNone) const {
    return {.read_only = {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/no/such/place", path("ro")},
            .read_write = {path("rw")},
            .network = network};
  }
  [[nodiscard]] std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  test::ScratchDir directory;
};

std::string confine(const LandlockRules& rules, unsigned abi) {
  if (const auto done = set_no_new_privileges(); !done) return done.error().message;
  const auto ruleset = make_landlock_ruleset(rules, abi);
  if (!ruleset) return ruleset.error().message;
  if (const auto done = allow_own_proc(ruleset->get()); !done) return done.error().message;
  if (const auto done = enforce_landlock(ruleset->get()); !done) return done.error().message;
  return {};
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
template <class Call> long on_tcp(Call call, std::uint16_t port) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  return call(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}
long wait_for(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

struct Probe {
  std::string what;
  unsigned abi;  // from this version on it is refused
  long (*attempt)(const Places& at);
  const char* inside;
  const char* outside;
};

const Probe kProbes[] = {
    {"reading a read-only file", 1, [](const Places& at) { return open_file(at.path("ro/file"), O_RDONLY); }, "0", "0"},
    {"writing to it", 1, [](const Places& at) { return open_file(at.path("ro/file"), O_WRONLY); }, "EACCES", "0"},
    {"truncating it", 3, [](const Places& at) { return long{::truncate(at.path("ro/file").c_str(), 1)}; },
     "EACCES", "0"},
    {"a new file beside it", 1, [](const Places& at) { return open_file(at.path("ro/new"), O_CREAT | O_WRONLY); },
     "EACCES", "0"},
    {"removing it", 1, [](const Places& at) { return long{::unlink(at.path("ro/file").c_str())}; }, "EACCES", "0"},
    {"reading elsewhere", 1, [](const Places& at) { return open_file(at.path("other/file"), O_RDONLY); },
     "EACCES", "0"},
    {"listing elsewhere", 1, [](const Places& at) { return open_file(at.path("other"), O_RDONLY | O_DIRECTORY); },
     "EACCES", "0"},
    {"reading /etc/passwd", 1, [](const Places&) { return open_file("/etc/passwd", O_RDONLY); }, "EACCES", "0"},
    {"a new file of one's own", 1, [](const Places& at) { return open_file(at.path("rw/new"), O_CREAT | O_RDWR); },
     "0", "0"},
    {"writing over one's own", 1, [](const Places& at) { return open_file(at.path("rw/file"), O_WRONLY | O_TRUNC); },
     "0", "0"},
    {"a new directory", 1, [](const Places& at) { return long{::mkdir(at.path("rw/d").c_str(), 0700)}; }, "0", "0"},
    {"a FIFO", 1, [](const Places& at) { return long{::mkfifo(at.path("rw/fifo").c_str(), 0600)}; }, "0", "0"},
    {"a symbolic link", 1, [](const Places& at) { return long{::symlink("file", at.path("rw/link").c_str())}; },
     "0", "0"},
    {"removing one's own", 1, [](const Places& at) { return long{::unlink(at.path("rw/file").c_str())}; }, "0", "0"},
    {"reading elsewhere through a link of one's own", 1,
     [](const Places& at) {
       return ::symlink("../other/file", at.path("rw/link").c_str()) == 0 ? open_file(at.path("rw/link"), O_RDONLY) : 0;
     }, "EACCES", "0"},
    {"taking a file from elsewhere by a hard link", 1,
     [](const Places& at) { return long{::link(at.path("other/file").c_str(), at.path("rw/taken").c_str())}; },
     "EXDEV", "0"},
    {"/dev/null for writing", 1, [](const Places&) { return open_file("/dev/null", O_WRONLY | O_TRUNC); }, "0", "0"},
    {"/dev/null is no terminal", 1,
     [](const Places&) {
       const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
       char termios[64];
       return long{::ioctl(null.get(), TCGETS, termios)};
     }, "ENOTTY", "ENOTTY"},
    {"the list of devices", 1, [](const Places&) { return open_file("/dev", O_RDONLY | O_DIRECTORY); }, "EACCES", "0"},
    {"facts about the machine", 1, [](const Places&) { return open_file("/proc/meminfo", O_RDONLY); }, "0", "0"},
    {"facts about oneself", 1, [](const Places&) { return open_file("/proc/self/status", O_RDONLY); }, "0", "0"},
    {"one's descriptors", 1, [](const Places&) { return open_file("/proc/self/fd", O_RDONLY | O_DIRECTORY); },
     "0", "0"},
    {"the parent in /proc", 1,
     [](const Places&) { return open_file(fmt::format("/proc/{}/environ", ::getppid()), O_RDONLY); }, "EACCES", "0"},
    {"the list of processes", 1, [](const Places&) { return open_file("/proc", O_RDONLY | O_DIRECTORY); },
     "EACCES", "0"},
    {"executing a program", 1,
     [](const Places&) {
       const pid_t pid = ::fork();
       if (pid == 0) ::execl("/bin/true", "true", nullptr), ::_exit(9);
       return wait_for(pid);
     }, "0", "0"},
    {"a TCP connection", 4, [](const Places&) { return on_tcp(::connect, 1); }, "EACCES", "ECONNREFUSED"},
    {"a TCP server", 4, [](const Places&) { return on_tcp(::bind, 0); }, "EACCES", "0"},
    {"a signal to the parent", 6, [](const Places&) { return long{::kill(::getppid(), 0)}; }, "EPERM", "0"},
    {"a signal to a child", 6,
     [](const Places&) {
       const pid_t pid = ::fork();
       if (pid == 0) ::pause(), ::_exit(9);
       const long done = ::kill(pid, SIGKILL);
       (void)wait_for(pid);
       return done;
     }, "0", "0"},
};

using Identity = std::string (*)(const test::Piece&);

TEST_CASE("without namespaces a template needs a kernel on which no job can shorten what it reads") {
  const struct { SandboxLevel level; unsigned abi; bool warm; } rows[] = {
      {SandboxLevel::kFull, 0, true},
      {SandboxLevel::kReduced, 0, false},
      {SandboxLevel::kReduced, 2, false},
      {SandboxLevel::kReduced, 3, true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.abi);
    Jail jail;
    jail.plan.level = row.level;
    jail.landlock_abi = row.abi;
    CHECK(jail.can_be_warm() == row.warm);
  }
}

TEST_CASE("each version refuses what it can, and nothing that a script needs") {
  const unsigned newest = query_landlock_abi().value();
  MESSAGE(landlock_detail(newest));
  for (const Identity identity : {test::in_child, test::as_plain_user}) {
    for (const Probe& probe : kProbes) {
      CAPTURE(probe.what);
      {
        const Places places;
        CHECK(identity([&] { return test::in_child([&] { return outcome(probe.attempt(places)); }); }) ==
              probe.outside);
      }
      for (unsigned abi = 1; abi <= newest; ++abi) {
        CAPTURE(abi);
        const Places places;
        // A child more, so that the parent which /proc and the signal mean is of the same user, outside the rules.
        const std::string answer = identity([&] {
          return test::in_child([&] {
            const std::string trouble = confine(places.rules(), abi);
            return trouble.empty() ? outcome(probe.attempt(places)) : trouble;
          });
        });
        CHECK(answer == (abi >= probe.abi ? probe.inside : probe.outside));
      }
    }
  }
}

TEST_CASE("files move between folders of the job from version 2 on, and never out of it") {
  const unsigned newest = query_landlock_abi().value();
  for (unsigned abi = 1; abi <= newest; ++abi) {
    CAPTURE(abi);
    const Places places;
    const auto move = [&](const char* from, const char* to) {
      return test::in_child([&] {
        const std::string trouble = confine(places.rules(), abi);
        if (!trouble.empty()) return trouble;
        return outcome(::rename(places.path(from).c_str(), places.path(to).c_str()));
      });
    };
    CHECK(move("rw/file", "rw/renamed") == "0");
    CHECK(move("rw/renamed", "rw/sub/file") == (abi >= 2 ? "0" : "EXDEV"));
    CHECK(move("other/file", "rw/stolen") != "0");
    CHECK(places.directory.exists("other/file"));
  }
}

TEST_CASE("root makes no device node in the job's directory") {
  if (::geteuid() != 0) return;  // the kernel refuses it to everybody else
  const Places places;
  const auto make = [&] {
    return outcome(::mknod(places.path("rw/node").c_str(), S_IFCHR | 0600, static_cast<dev_t>(0x103)));
  };
  if (query_landlock_abi().value() > 0) {
    CHECK(test::in_child([&] {
      const std::string trouble = confine(places.rules(), 1);
      return trouble.empty() ? make() : trouble;
    }) == "EACCES");
  }
  CHECK(test::in_child(make) == "0");
}

TEST_CASE("a job that may use the network connects") {
  const unsigned newest = query_landlock_abi().value();
  if (newest < 4) return;  // no version of this kernel's would refuse it
  const Places places;
  CHECK(test::in_child([&] {
    const std::string trouble = confine(places.rules(NetworkMode::kHost), newest);
    return trouble.empty() ? outcome(on_tcp(::connect, 1)) : trouble;
  }) == "ECONNREFUSED");
}

TEST_CASE("abstract sockets of others are out of reach from version 6 on") {
  const unsigned newest = query_landlock_abi().value();
  const UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The name begins with NUL: abstract (unix(7)).
  std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "coderunner-test-%d", ::getpid());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  REQUIRE(::bind(server.get(), name, sizeof address) == 0);
  REQUIRE(::listen(server.get(), 16) == 0);
  const auto connect = [&] {
    const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return outcome(::connect(client.get(), name, sizeof address));
  };
  CHECK(test::in_child(connect) == "0");
  const Places places;
  for (unsigned abi = 1; abi <= newest; ++abi) {
    CAPTURE(abi);
    CHECK(test::in_child([&] {
      const std::string trouble = confine(places.rules(), abi);
      return trouble.empty() ? connect() : trouble;
    }) == (abi >= 6 ? "EPERM" : "0"));
  }
}

TEST_CASE("a child's directory in /proc is not its parent's") {
  if (query_landlock_abi().value() == 0) return;
  const Places places;
  CHECK(test::in_child([&] {
    const std::string trouble = confine(places.rules(), 1);
    if (!trouble.empty()) return trouble;
    return test::in_child([] { return outcome(open_file("/proc/self/status", O_RDONLY)); });
  }) == "EACCES");
}

TEST_CASE("a missing working directory and a missing Landlock are errors that say so") {
  const auto none = make_landlock_ruleset({}, 0);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().fault == Fault::kSandbox);
  CHECK(none.error().message == "landlock: not available on this kernel");
  const unsigned newest = query_landlock_abi().value();
  if (newest == 0) return;
  const auto missing = make_landlock_ruleset({.read_only = {}, .read_write = {"/no/such/place"}}, newest);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().message == "open(/no/such/place): ENOENT");
}

TEST_CASE("the detail names what a version can not refuse") {
  CHECK(landlock_detail(0) == "not available (Linux 5.13 with landlock among lsm=)");
  CHECK(landlock_detail(4) ==
        "ABI 4; not covered: device ioctls (Linux 6.10), signals and abstract sockets (Linux 6.12)");
  CHECK(landlock_detail(7) == "ABI 7");
}

}  // namespace
}  // namespace coderunner
