// Role: what the sentinel calls a leak, a row a kind, and what it must not: a template's own processes.
#include "worker/leak_sentinel.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "common/sys.h"
#include "tests/support/forked.h"

namespace coderunner {
namespace {

// A child in a session of its own that stays until it is killed with its parent's end; it has begun when this returns.
pid_t start_idle(const std::function<void()>& before = [] {}) {
  auto begun = sys::make_pipe();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setsid();
    before();
    (void)!::write(begun->write.get(), "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  begun->write.reset();
  (void)!::read(begun->read.get(), &byte, 1);
  return child;
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

struct Scene {
  std::string folder = "/tmp/leak-sentinel-test-" + std::to_string(::getpid());
  std::string mountinfo = folder + ".mounts";
  TemplateSessions templates;
  std::vector<pid_t> started;

  Scene() { write_mounts(2); }
  ~Scene() {
    for (const pid_t pid : started) end(pid);
    ::rmdir(folder.c_str());
    ::unlink(mountinfo.c_str());
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  void write_mounts(int count) const {
    std::ofstream file(mountinfo);
    for (int i = 0; i < count; ++i) file << "22 28 0:21 / /proc rw - proc proc rw\n";
  }
};

struct Row {
  std::string what;
  std::function<void(Scene&)> before, job;
  std::string found;
};

std::string judge(const Row& row) {
  return test::as_plain_user([&]() -> std::string {
    Scene scene;
    row.before(scene);
    LeakSentinel sentinel({.cgroup = nullptr, .mountinfo = scene.mountinfo});
    if (!sentinel.remember(scene.templates)) return "remember";
    row.job(scene);
    const auto found = sentinel.look(scene.templates, scene.folder);
    if (!found) return found.error().message;
    return *found == row.found ? "" : "found: " + *found;
  });
}

TEST_CASE("everything that a job can leave is found and named, and nothing else is") {
  const auto nothing = [](Scene&) {};
  const auto start_template = [](Scene& scene) {
    scene.started.push_back(start_idle());
    scene.templates.living.push_back(scene.started.back());
  };
  const auto with_templates = [&](Scene& scene) { start_template(scene), start_template(scene); };
  const Row rows[] = {
      {"nothing", nothing, nothing, ""},
      {"a process", nothing, [](Scene& s) { s.started.push_back(start_idle()); }, "1 process (unit_worker)"},
      {"two", nothing, [](Scene& s) { for (int i : {1, 2}) (void)i, s.started.push_back(start_idle()); },
       "2 processes (unit_worker, unit_worker)"},
      {"one that has ended and is not reaped", nothing,
       [](Scene& s) {
         s.started.push_back(start_idle());
         ::kill(s.started.back(), SIGKILL);
         siginfo_t info{};
         ::waitid(P_PID, static_cast<id_t>(s.started.back()), &info, WEXITED | WNOWAIT);
       },
       ""},
      {"templates", with_templates, nothing, ""},
      {"a template that was renewed: its descriptors are others", with_templates,
       [&](Scene& s) {
         s.templates.others.push_back(s.templates.living.back());
         s.templates.living.pop_back();
         start_template(s);
         (void)::open("/dev/null", O_RDONLY);
       },
       ""},
      {"what an ended template has started", nothing,
       [](Scene& s) {
         s.started.push_back(start_idle());
         s.templates.others.push_back(s.started.back());
       },
       ""},
      {"a process below the template, in a session of its own", nothing,
       [](Scene& s) {
         s.started.push_back(start_idle([] { start_idle(); }));
         s.templates.living = {s.started.back()};
       },
       "1 process (unit_worker)"},
      {"two descriptors", nothing, [](Scene&) { for (int i : {1, 2}) (void)i, (void)::open("/dev/null", O_RDONLY); },
       "2 descriptors"},
      {"a mount", nothing, [](Scene& s) { s.write_mounts(3); }, "1 mount"},
      {"a mount less", nothing, [](Scene& s) { s.write_mounts(1); }, ""},
      {"its folder", nothing, [](Scene& s) { ::mkdir(s.folder.c_str(), 0700); }, "its folder"},
      {"all of it", nothing,
       [](Scene& s) {
         s.started.push_back(start_idle());
         (void)::open("/dev/null", O_RDONLY);
         s.write_mounts(4);
         ::mkdir(s.folder.c_str(), 0700);
       },
       "1 process (unit_worker), 1 descriptor, 2 mounts, its folder"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(judge(row) == "");
  }
}

TEST_CASE("what was here before the first job is no leak, and a look does not add to it") {
  CHECK(test::as_plain_user([]() -> std::string {
          (void)::open("/dev/null", O_RDONLY);
          LeakSentinel sentinel({.cgroup = nullptr, .mountinfo = "/proc/self/mountinfo"});
          if (!sentinel.remember({})) return "remember";
          for (int i = 0; i < 100; ++i) {
            const auto found = sentinel.look({}, "");
            if (!found || !found->empty()) return found ? *found : found.error().message;
          }
          return "";
        }) == "");
}

}  // namespace
}  // namespace coderunner
