// Role: what outlives the service, what it gives up, and what `coderunner run` asks for.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/sys.h"
#include "supervisor/artifact_writer.h"
#include "supervisor/drop_user.h"
#include "supervisor/http.h"
#include "supervisor/keeper.h"
#include "supervisor/launch.h"
#include "supervisor/run_command.h"
#include "tests/support/forked.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

namespace fs = std::filesystem;

class Place {
 public:
  Place() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Place() { fs::remove_all(path_); }
  [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }
  std::string file(const std::string& name, std::string_view content) const {
    std::ofstream(at(name)) << content;
    return at(name);
  }

 private:
  std::string path_ = "/tmp/coderunner-launch-test-XXXXXX";
};

TEST_CASE("connections leave descriptors to workers and waiting requests") {
  const auto plenty = limit_connections(1 << 20, 2, 256);
  CHECK(plenty.connections == kMaxConnections);
  CHECK(plenty.lingering == kMaxLingering);
  for (const std::uint64_t descriptors : {64, 128, 1024, 4096, 5000}) {
    for (const std::size_t workers : {1, 2, 64}) {
      CAPTURE(descriptors);
      CAPTURE(workers);
      const auto [connections, lingering] = limit_connections(descriptors, workers, 256);
      const std::uint64_t waiting = std::min<std::uint64_t>(256, connections);
      if (connections > 4) CHECK(connections + lingering + HttpConfig::kGoing + waiting + 8 * workers < descriptors);
      CHECK(connections >= 4);
      CHECK(connections <= kMaxConnections);
    }
  }
  CHECK(limit_connections(1024, 2, 256).connections == 570);
}

TEST_CASE("the keeper removes the service's directory when the service ends, and when it is killed") {
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    const Place place;
    const std::string temp = place.at("temp");
    fs::create_directories(temp + "/worker-0/deep");
    Pipe started = sys::make_pipe().value();
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto keeper = Keeper::start({{}, temp}, {});
      if (!keeper || !sys::write_all(started.write.get(), ".")) ::_exit(1);
      if (killed) for (;;) ::pause();
      keeper = fail(Fault::kInternal, "gone");  // its destructor waits for the keeper
      ::_exit(fs::exists(temp) ? 1 : 0);
    }
    Child service = Child::adopt(pid).value();
    char byte = 0;
    REQUIRE(sys::read_some(started.read.get(), {&byte, 1}).value() == 1u);
    if (killed) {
      CHECK(fs::exists(temp));
      service.kill(SIGKILL);
    }
    const auto status = service.wait(Deadline::never()).value();
    CHECK(status->signal == (killed ? SIGKILL : 0));
    CHECK(status->code == 0);
    CHECK(test::eventually([&] { return !fs::exists(temp); }));
  }
}

TEST_CASE("the keeper holds none of its parent's descriptors, and signals do not end it") {
  const Place place;
  Pipe pipe = sys::make_pipe().value();
  fs::create_directory(place.at("temp"));
  std::string title_memory(64, 'x');
  auto keeper = Keeper::start({{}, place.at("temp")}, title_memory);
  REQUIRE(keeper.has_value());
  CHECK(title_memory == std::string(64, 'x'));  // the parent's own title stays
  pipe.write.reset();
  char byte = 0;
  CHECK(sys::read_some(pipe.read.get(), {&byte, 1}).value() == 0u);  // the end: nobody else has the other one
  const std::string comm = fmt::format("/proc/{}/comm", keeper->child().pid());
  REQUIRE(test::eventually([&] { return sys::read_file(comm).value_or("") == "coderunner-keep\n"; }));
  keeper->child().kill(SIGTERM);
  keeper->child().kill(SIGINT);
  CHECK(fs::exists(place.at("temp")));
  keeper = fail(Fault::kInternal, "gone");
  CHECK_FALSE(fs::exists(place.at("temp")));
}

std::string drop_for_good() {
  const auto account = service_account("nobody");
  if (!account) return account.error().message;
  if (const auto dropped = drop_to(*account); !dropped) return dropped.error().message;
  if (::getuid() == 0 || ::geteuid() == 0 || ::getgid() == 0) return "still root";
  if (::getgroups(0, nullptr) != 0 && account->name == "nobody") return "groups are left";
  if (::setuid(0) == 0) return "root again";
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return "new privileges are possible";
  if (::prctl(PR_GET_DUMPABLE) != 0) return "dumpable";
  return {};
}

TEST_CASE("privileges are dropped for good") {
  if (::geteuid() == 0) {
    CHECK(test::in_child(drop_for_good) == "");
    CHECK(service_account("no-such-account").error().message == "--user: no account is named no-such-account");
  }
  CHECK(test::as_plain_user([] {
    const auto account = service_account("no-such-account");  // only root changes its account
    if (!account || account->uid != ::geteuid()) return std::string("another account");
    if (!drop_to(*account)) return std::string("refused");
    return std::string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? "" : "new privileges are possible");
  }) == "");
}

TEST_CASE("artifacts are written into the directory, and never out of it") {
  const Place place;
  const std::string directory = place.at("made/out");
  auto writer = ArtifactWriter::start(directory).value();
  const std::string big(300'000, 'b');
  REQUIRE(writer.announce({"a.txt", 4, ""}));
  REQUIRE(writer.write("te"));
  REQUIRE(writer.write("xt"));
  REQUIRE(writer.announce({"big \xff", big.size(), ""}));
  REQUIRE(writer.write(big));
  REQUIRE(writer.announce({"empty", 0, ""}));
  CHECK(writer.finish().has_value());
  CHECK(sys::read_file(directory + "/a.txt").value() == "text");
  CHECK(sys::read_file(directory + "/big \xff").value() == big);
  CHECK(sys::read_file(directory + "/empty").value().empty());

  const std::string victim = place.file("victim", "untouched");
  fs::create_symlink(victim, directory + "/link");
  for (const char* const name : {"link", "../victim", "..", ".", "", "sub/file", "made/out"}) {
    CAPTURE(name);
    auto refused = ArtifactWriter::start(directory).value();
    CHECK(refused.announce({name, 1, ""}).has_value());
    static_cast<void>(refused.write("x"));  // the writer may have ended already
    CHECK_FALSE(refused.finish().has_value());
    CHECK(sys::read_file(victim).value() == "untouched");
  }
}

TEST_CASE("a command becomes the request that it names") {
  const Place place;
  Settings settings;
  settings.run_script = place.file("job.py", "print(1)");
  settings.run_inputs = {place.file("a.csv", "a"), place.file("b.csv", "b")};
  settings.run_args = {"-x", "y"};
  settings.limits.default_timeout_s = 7;
  const auto request = make_command_request(settings, "in");
  REQUIRE(request.has_value());
  REQUIRE(request->files.size() == 3);
  CHECK(request->files[0].path == "script.py");
  CHECK(request->files[0].content == "print(1)");
  CHECK_FALSE(request->files[0].read_only);
  CHECK(request->files[2].path == "input/b.csv");
  CHECK(request->files[2].content == "b");
  CHECK(request->files[2].read_only);
  CHECK(request->job.args == settings.run_args);
  CHECK(request->job.timeout_ms == 7000);
  CHECK(request->job.entry_point == "script.py");
  CHECK(request->stdin_bytes == "in");
}

TEST_CASE("a command that can not be carried out names the file or the limit") {
  const Place place;
  const std::string script = place.file("job.py", "print(1)");
  fs::create_directory(place.at("other"));
  struct Row {
    std::function<void(Settings&)> change;
    std::string says;
  };
  const Row rows[] = {
      {[&](Settings& s) { s.run_script = place.at("missing.py"); }, "missing.py\"): ENOENT"},
      {[&](Settings& s) { s.run_script = place.at("other"); }, "EISDIR"},
      {[&](Settings& s) { s.run_script = place.file("latin.py", "# \xff"); }, "latin.py: not UTF-8"},
      {[&](Settings& s) { s.limits.script_bytes = 7; }, "job.py\"): more than 7 bytes"},
      {[&](Settings& s) { s.run_inputs = {place.at("missing.csv")}; }, "missing.csv\"): ENOENT"},
      {[&](Settings& s) { s.run_inputs = {place.file(".hidden", "")}; }, "--input " + place.at(".hidden")},
      {[&](Settings& s) { s.run_inputs = {script, place.file("other/job.py", "")}; }, "the same name"},
      {[&](Settings& s) { s.run_inputs = {script}, s.limits.file_bytes = 3; }, "more than 3 bytes"},
      {[&](Settings& s) { s.run_inputs = {script, place.file("b", "b")}, s.limits.files = 1; }, "at most 1 files"},
      {[&](Settings& s) { s.run_inputs = {script}, s.limits.files_bytes = 3; }, "more than 3 bytes together"},
      {[&](Settings& s) { s.run_args.assign(65, "a"); }, "at most 64 arguments"},
      {[&](Settings& s) { s.run_args = {std::string(8193, 'a')}; }, "8192 bytes"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Settings settings;
    settings.run_script = script;
    row.change(settings);
    const auto request = make_command_request(settings, "");
    REQUIRE_FALSE(request.has_value());
    CHECK(request.error().fault == Fault::kClient);
    CHECK_MESSAGE(request.error().message.find(row.says) != std::string::npos, request.error().message);
  }
}

TEST_CASE("who does not read the errors holds nobody up") {
  CHECK(test::in_child([] {
    auto ends = sys::make_pipe();
    if (!ends || !sys::set_nonblocking(ends->write.get(), true)) return std::string("no pipe");
    while (::write(ends->write.get(), "xxxxxxxx", 8) > 0) {
    }
    if (!sys::set_nonblocking(ends->write.get(), false)) return std::string("no pipe");
    ::dup2(ends->write.get(), STDERR_FILENO);
    for (int i = 0; i < 3; ++i) complain("nobody reads this");
    return std::string("went on");
  }) == "went on");
}

}  // namespace
}  // namespace coderunner
