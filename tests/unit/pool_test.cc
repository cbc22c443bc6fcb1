// Role: what a pool does with workers that serve, die, hang and lie, and with requests that wait.
// Law: workers are test_worker processes. Nothing is timed: a test waits for a state, and a wrong state fails it.
#include "supervisor/pool.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "common/sys.h"
#include "supervisor/orphans.h"
#include "tests/support/worker_script.h"

namespace coderunner {
namespace {

using test::eventually;
using test::RecordingSink;
using test::simple_request;
using test::WorkerScript;

// Serves job after job and says each time in which slot.
const std::string kServes = "ready\njob\nstarted\nsay-slot\nexit 0\nready\nrepeat\n";

// Runs one job; what it wrote, or the error.
std::string run_job(Pool& pool, bool packages = false) {
  auto lease = pool.borrow(0, -1, packages);
  if (!lease) return lease.error().message;
  RecordingSink sink;
  const auto report = run_session(std::move(*lease), simple_request(), sink, {});
  return report ? sink.out : report.error().message;
}

bool settles(Pool& pool, std::size_t ready) {
  return eventually([&] { return pool.health().ready == ready; });
}

std::size_t count_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

std::string read(const std::string& path) { return sys::read_file(path).value_or(""); }

TEST_CASE("every worker asked for becomes ready, and the pool's end leaves no process and no descriptor") {
  const std::size_t descriptors = count_descriptors();
  {
    const WorkerScript script(kServes);
    Pool pool(script.config(3));
    REQUIRE(settles(pool, 3));
    CHECK(pool.wait_until_ready(Deadline::in(Millis{0})));
    const PoolHealth health = pool.health();
    CHECK(health.births == 3);
    CHECK(health.respawns == 0);
    CHECK(health.report->python == "3.11.2");
    CHECK(health.trouble.empty());
    CHECK(list_children().value().size() == 3);
  }
  CHECK(list_children().value().empty());
  CHECK(count_descriptors() == descriptors);
}

TEST_CASE("until a worker has been ready no other one is born") {
  const WorkerScript script("once @/first\nhang\notherwise\n" + kServes);
  Pool pool(script.config(3));
  REQUIRE(eventually([&] { return std::filesystem::exists(script.path("first")); }));
  CHECK(pool.health().births == 1);
  const auto born = list_children().value();
  REQUIRE(born.size() == 1);
  ::kill(born.front(), SIGKILL);
  REQUIRE(settles(pool, 3));
  CHECK(pool.health().births == 4);
}

TEST_CASE("the worker that became ready last is lent first") {
  const WorkerScript script(kServes);
  Pool pool(script.config(3));
  REQUIRE(settles(pool, 3));
  const std::string first = run_job(pool);
  CHECK(first.size() == 1);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(settles(pool, 3));
    CHECK(run_job(pool) == first);
  }
  CHECK(pool.health().births == 3);
}

TEST_CASE("a worker serves the next job when its Ready comes in one piece with its Exit") {
  const WorkerScript script("ready\nmark\njob\nstarted\ntogether\nexit 0\nready\napart\nrepeat\n");
  Pool pool(script.config());
  for (int i = 0; i < 20; ++i) CHECK(run_job(pool).empty());
  CHECK(pool.health().births == 1);
}

TEST_CASE("births that fail are told to those who wait and to those who come, with the worker's own reason") {
  struct Row {
    std::string instructions, reason;
  };
  const Row rows[] = {
      {"failed no user namespaces\nhang\n", "no user namespaces"},
      {"failed no user namespaces\nend 1\n", "no user namespaces"},
      {"end 3\n", "exit status 3"},
      {"garbage\nhang\n", ""},
      {"stdout x\nhang\n", "Stdout"},
      {"frame 99\nhang\n", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.instructions);
    const WorkerScript script(row.instructions);
    Pool pool(script.config(2));
    const auto waited = pool.borrow(0, -1);
    REQUIRE_FALSE(waited.has_value());
    CHECK(waited.error().fault == Fault::kUnavailable);
    CHECK(waited.error().message.find(row.reason) != std::string::npos);
    const auto came = pool.borrow(0, -1);
    REQUIRE_FALSE(came.has_value());
    CHECK(came.error().fault == Fault::kUnavailable);
    CHECK_FALSE(pool.wait_until_ready(Deadline::never()));
    CHECK(pool.health().trouble.find(row.reason) != std::string::npos);
  }
}

TEST_CASE("a program that can not be executed is a failed birth that names it") {
  const WorkerScript script("");
  PoolConfig config = script.config();
  std::ofstream(script.path("no-program")) << "text";
  config.program = open_worker(script.path("no-program")).value();
  Pool pool(std::move(config));
  CHECK_FALSE(pool.wait_until_ready(Deadline::never()));
  CHECK(pool.health().trouble.find("no-program: execveat: EACCES") != std::string::npos);
}

TEST_CASE("a pool recovers when births succeed again") {
  WorkerScript script("end 1\n");
  Pool pool(script.config(2));
  REQUIRE_FALSE(pool.wait_until_ready(Deadline::never()));
  script.rewrite(kServes);
  REQUIRE(settles(pool, 2));
  CHECK(pool.health().trouble.empty());
  CHECK(run_job(pool).size() == 1);
}

TEST_CASE("a worker that dies with its job costs that job and is replaced") {
  const WorkerScript script("ready\njob\nonce @/died\nend 1\notherwise\nstarted\nsay-slot\nexit 0\nready\nrepeat\n");
  Pool pool(script.config());
  CHECK(run_job(pool).find("the peer has gone") != std::string::npos);
  CHECK(run_job(pool) == "0");
  CHECK(pool.health().births == 2);
  CHECK(pool.health().trouble.empty());  // it had been ready: no failed birth
}

TEST_CASE("an idle worker that dies or speaks out of turn is replaced") {
  for (const char* const misdeed : {"end 1", "stdout x\nhang", "started\nhang", "exit 0\nhang", "garbage\nhang",
                                    "failed broken\nhang", "frame 1\nhang"}) {
    CAPTURE(misdeed);
    const WorkerScript script(fmt::format("once @/done\nready\n{}\notherwise\n{}", misdeed, kServes));
    Pool pool(script.config());
    REQUIRE(eventually([&] { return pool.health().births == 2; }));
    CHECK(run_job(pool) == "0");
    CHECK(pool.health().births == 2);
  }
}

TEST_CASE("a worker that says Ready again while idle stays") {
  const WorkerScript script("ready\nready\n" + kServes);
  Pool pool(script.config());
  CHECK(run_job(pool) == "0");
  CHECK(pool.health().births == 1);
}

TEST_CASE("a worker that does not become ready in time is replaced") {
  const WorkerScript hangs_at_birth("once @/hung\nhang\notherwise\n" + kServes);
  PoolConfig config = hangs_at_birth.config();
  config.timings.birth_limit = Millis{1000};
  Pool first(std::move(config));
  CHECK(run_job(first) == "0");
  CHECK(first.health().births > 1);

  const WorkerScript hangs_after_exit("once @/hung\nready\njob\nstarted\nexit 0\nhang\notherwise\n" + kServes);
  config = hangs_after_exit.config();
  config.timings.reset_limit = Millis{200};
  Pool second(std::move(config));
  CHECK(run_job(second).empty());
  CHECK(run_job(second) == "0");
  CHECK(second.health().births > 1);
}

TEST_CASE("a worker with a leak is counted and not lent again") {
  const WorkerScript script("once @/leaked\nready\njob\nstarted\nexit 0\nready 1\nend 1\notherwise\n" + kServes);
  Pool pool(script.config());
  CHECK(run_job(pool).empty());
  CHECK(run_job(pool) == "0");
  CHECK(pool.health().leaks == 1);
  CHECK(pool.health().births == 2);
}

TEST_CASE("what workers tell of their templates adds up, whichever frame is missed and whoever is replaced") {
  const WorkerScript script(
      "once @/first\nready 0 1 0 1\nready 0 2 0 2\njob\nstarted\nexit 0\nready 0 2 1 4\njob\nend 1\n"
      "otherwise\nready 0 2 0 10\nhang\n");
  Pool pool(script.config());
  CHECK(run_job(pool).empty());
  CHECK(eventually([&] { return pool.health().templates == TemplateCounts{2, 1, 4}; }));
  CHECK(pool.health().worker_pids.size() == 1);
  run_job(pool);  // is lost with the worker
  CHECK(eventually([&] { return pool.health().templates == TemplateCounts{4, 1, 14}; }));
}

TEST_CASE("a job goes to a worker whose last one was like it, however long ago, before it goes to another") {
  const WorkerScript script(kServes);
  Pool pool(script.config(3));
  REQUIRE(settles(pool, 3));
  const auto run = [&](bool packages) {
    const std::string slot = run_job(pool, packages);
    REQUIRE(settles(pool, 3));
    return slot;
  };
  const std::string plain = run(false);
  CHECK(run(false) == plain);
  const std::string other = run(true);
  CHECK(other != plain);
  CHECK(run(false) == plain);
  CHECK(run(false) == plain);
  CHECK(run(true) == other);
  {
    const auto busy = pool.borrow(0, -1, false).value();
    CHECK(run_job(pool, false) != plain);  // and one of the other kind is better than none
  }
}

TEST_CASE("a lease that ends without the job's end costs the worker its life") {
  const WorkerScript script(kServes);
  Pool pool(script.config());
  { const auto lease = pool.borrow(0, -1).value(); }
  CHECK(run_job(pool) == "0");
  CHECK(pool.health().births == 2);
}

TEST_CASE("a lease of a dead worker does not disturb the one that came after it") {
  const WorkerScript script("once @/first\nready\njob\nend 1\notherwise\n" + kServes);
  Pool pool(script.config());
  {
    auto old = pool.borrow(0, -1).value();
    REQUIRE(old.channel().send(FrameType::kRun, {}, Deadline::never()));
    REQUIRE(settles(pool, 1));  // the next generation, while the old lease is still out
    old.finished();
  }
  CHECK(pool.health().ready == 1);
  CHECK(run_job(pool) == "0");
  CHECK(pool.health().births == 2);
}

// Waits for the pool on a thread of its own.
class Waiter {
 public:
  Waiter(Pool& pool, Bytes held, int client_fd, std::function<void()> served = {})
      : thread_([this, &pool, held, client_fd, served = std::move(served)] {
          auto lease = pool.borrow(held, client_fd);
          if (!lease) error_ = std::move(lease.error());
          else if (served) served();
        }) {}
  std::optional<Error> error() {
    thread_.join();
    return error_;
  }

 private:
  std::optional<Error> error_;
  std::thread thread_;
};

bool queued(Pool& pool, std::size_t count) {
  return eventually([&] { return pool.health().queued == count; });
}

TEST_CASE("those who wait are served in the order in which they came") {
  const WorkerScript script(kServes);
  Pool pool(script.config());
  std::optional<Lease> lease(pool.borrow(0, -1).value());
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(std::make_unique<Waiter>(pool, 10, -1, [&, i] {
      const std::lock_guard lock(mutex);
      order.push_back(i);
    }));
    REQUIRE(queued(pool, static_cast<std::size_t>(i) + 1));
  }
  CHECK(pool.health().queued_bytes == 40);
  CHECK(pool.health().busy == 1);
  lease.reset();
  for (auto& waiter : waiters) CHECK_FALSE(waiter->error().has_value());
  CHECK(order == std::vector{0, 1, 2, 3});
  CHECK(pool.health().queued_bytes == 0);
}

TEST_CASE("the queue is bounded by count and by bytes") {
  const WorkerScript script(kServes);
  PoolConfig config = script.config();
  config.queue = 2;
  config.queue_bytes = 100;
  Pool pool(std::move(config));
  REQUIRE(settles(pool, 1));
  std::optional<Lease> lease(pool.borrow(1000, -1).value());  // what need not wait is not counted
  Waiter first(pool, 60, -1);
  REQUIRE(queued(pool, 1));
  const auto too_big = pool.borrow(41, -1);
  REQUIRE_FALSE(too_big.has_value());
  CHECK(too_big.error().fault == Fault::kBusy);
  Waiter second(pool, 40, -1);
  REQUIRE(queued(pool, 2));
  const auto too_many = pool.borrow(0, -1);
  REQUIRE_FALSE(too_many.has_value());
  CHECK(too_many.error().fault == Fault::kBusy);
  lease.reset();
  CHECK_FALSE(first.error().has_value());
  CHECK_FALSE(second.error().has_value());
}

TEST_CASE("the wait that is told to who finds no room follows from what jobs have taken and how many are ahead") {
  const WorkerScript script(kServes);
  Pool pool(script.config());
  CHECK(pool.estimate_wait() == std::chrono::seconds(1));  // nothing is known yet
  {
    const Lease lease = pool.borrow(0, -1).value();
    std::this_thread::sleep_for(Millis(600));  // what a job takes, at least
  }
  std::optional<Lease> lease(pool.borrow(0, -1).value());
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < 9; ++i) waiters.push_back(std::make_unique<Waiter>(pool, 0, -1));
  REQUIRE(queued(pool, 9));
  CHECK(pool.estimate_wait() >= std::chrono::seconds(6));
  CHECK(pool.estimate_wait() <= Pool::kLongestWait);
  lease.reset();
  for (auto& waiter : waiters) CHECK_FALSE(waiter->error().has_value());
}

TEST_CASE("a client that hangs up leaves the queue") {
  const WorkerScript script(kServes);
  Pool pool(script.config());
  const auto lease = pool.borrow(0, -1).value();
  Pipe client = sys::make_socket_pair().value();
  Waiter waiter(pool, 5, client.read.get());
  REQUIRE(queued(pool, 1));
  client.write.reset();
  const auto error = waiter.error();
  REQUIRE(error.has_value());
  CHECK(error->fault == Fault::kClient);
  CHECK(pool.health().queued == 0);
  CHECK(pool.health().queued_bytes == 0);
}

TEST_CASE("a drained pool refuses those who wait and those who come, and lets jobs end") {
  const WorkerScript script(kServes);
  Pool pool(script.config());
  std::optional<Lease> lease(pool.borrow(0, -1).value());
  Waiter waiter(pool, 0, -1);
  REQUIRE(queued(pool, 1));
  pool.drain();
  CHECK(waiter.error()->fault == Fault::kUnavailable);
  CHECK(pool.borrow(0, -1).error().fault == Fault::kUnavailable);
  CHECK(pool.health().draining);
  CHECK_FALSE(pool.wait_until_idle(Deadline::in(Millis{1})));
  RecordingSink sink;
  CHECK(run_session(*std::move(lease), simple_request(), sink, {}).has_value());
  lease.reset();
  CHECK(pool.wait_until_idle(Deadline::never()));
}

TEST_CASE("what a dead worker leaves behind is ended and removed") {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const WorkerScript script("once @/first\nready\njob\norphan @/pid\nlitter\nend 1\notherwise\n" + kServes);
  Pool pool(script.config());
  CHECK_FALSE(run_job(pool).empty());
  const pid_t orphan = std::stoi(read(script.path("pid")));
  CHECK(run_job(pool) == "0");  // the slot is filled again only when everything of the dead one is gone
  CHECK(::kill(orphan, 0) == -1);
  CHECK_FALSE(std::filesystem::exists(script.path("worker-0")));
  CHECK(list_children().value().size() == 1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("what can not be cleared away for want of descriptors goes before the next worker comes") {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const WorkerScript script("once @/first\nready\njob\norphan @/pid\nlitter\nend 1\notherwise\n" + kServes);
  rlimit usual{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
  Pool pool(script.config());
  {
    auto lease = pool.borrow(0, -1);
    const rlimit none{3, usual.rlim_max};  // what is open stays open
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    RecordingSink sink;
    CHECK_FALSE(run_session(*std::move(lease), simple_request(), sink, {}).has_value());
  }
  const bool refused = eventually([&] { return pool.health().trouble.find("EMFILE") != std::string::npos; });
  ::setrlimit(RLIMIT_NOFILE, &usual);
  CHECK(refused);
  REQUIRE(settles(pool, 1));  // while births fail, who comes is told so at once
  CHECK(run_job(pool) == "0");
  CHECK(::kill(std::stoi(read(script.path("pid"))), 0) == -1);
  CHECK_FALSE(std::filesystem::exists(script.path("worker-0")));
  CHECK(list_children().value().size() == 1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("another child of the service is not taken for what a worker left") {
  const pid_t pid = ::fork();
  if (pid == 0) for (;;) ::pause();
  const Child other = Child::adopt(pid).value();
  const WorkerScript script("once @/first\nready\nend 1\notherwise\n" + kServes);
  {
    PoolConfig config = script.config();
    config.other_children = {&other};
    Pool pool(std::move(config));
    REQUIRE(eventually([&] { return pool.health().births == 2; }));
    CHECK(run_job(pool) == "0");
  }
  CHECK(list_children().value() == std::vector{pid});
}

TEST_CASE("each slot has its number and its cgroup directories, and complaints name it") {
  std::mutex mutex;
  std::vector<std::string> complaints;
  const WorkerScript script("once @/first\nready\nend 1\notherwise\n" + kServes);
  PoolConfig config = script.config(2);
  config.complain = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    complaints.emplace_back(line);
  };
  Pool pool(std::move(config));
  REQUIRE(eventually([&] { return pool.health().births == 3; }));
  REQUIRE(settles(pool, 2));
  Lease one = pool.borrow(0, -1).value();
  RecordingSink first, second;
  CHECK(run_session(pool.borrow(0, -1).value(), simple_request(), first, {}).has_value());
  CHECK(run_session(std::move(one), simple_request(), second, {}).has_value());
  CHECK(std::stoi(first.out) + std::stoi(second.out) == 1);  // slots 0 and 1
  const std::lock_guard lock(mutex);
  REQUIRE(complaints.size() == 1);
  CHECK(complaints[0].find("is replaced: ") != std::string::npos);
  CHECK(complaints[0].find("exit status 1") != std::string::npos);
}

}  // namespace
}  // namespace coderunner
