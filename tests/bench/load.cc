// Role: puts load on the service, or on bare Python, for a while, and says how long each job took.
// Callers: tests/bench/rounds.py:
//   load http PORT BODY_FILE CLIENTS SECONDS
//   load bare PYTHON DIRECTORY INPUT_FILE OUTPUT_BYTES CLIENTS SECONDS
// Law: one thread. One line of JSON on standard output; the first job that fails ends the run with status 1.
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "client.h"
#include "common/sys.h"

namespace coderunner::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kInputLimit = 64 << 20;

struct Load {
  std::vector<std::unique_ptr<Client>> clients;
  double seconds = 0;
};

struct Measured {
  std::vector<long> latencies_us;
  double seconds = 0;
};

Result<Load> read_command(const std::vector<std::string>& words) {
  Load load;
  if (words.size() < 6) return fail(Fault::kClient, "see the head of load.cc");
  const int clients = std::atoi(words[words.size() - 2].c_str());
  load.seconds = std::atof(words.back().c_str());
  for (int n = 0; n < clients; ++n) {
    if (words[1] == "http" && words.size() == 6) {
      const std::string body = TRY(sys::read_file(words[3], kInputLimit));
      load.clients.push_back(TRY(make_http_client(std::atoi(words[2].c_str()), body)));
    } else if (words[1] == "bare" && words.size() == 8) {
      const std::string input = TRY(sys::read_file(words[4], kInputLimit));
      const BareJob job{words[2], words[3], input, std::strtoull(words[5].c_str(), nullptr, 10)};
      load.clients.push_back(TRY(make_bare_client(job)));
    } else {
      return fail(Fault::kClient, "see the head of load.cc");
    }
  }
  return load;
}

Result<Measured> run(Load& load) {
  Measured measured;
  struct UnderWay {
    Client* client;
    Clock::time_point since;
    std::size_t first_entry = 0, end_entry = 0;
  };
  std::vector<UnderWay> under_way;
  const Clock::time_point start = Clock::now();
  const auto end = start + std::chrono::duration<double>(load.seconds);
  for (const auto& client : load.clients) {
    under_way.push_back({client.get(), Clock::now()});
    TRY(client->begin());
  }
  std::vector<pollfd> entries;
  while (!under_way.empty()) {
    entries.clear();
    for (UnderWay& one : under_way) {
      one.first_entry = entries.size();
      one.client->wait_for(entries);
      one.end_entry = entries.size();
    }
    TRY(sys::poll(entries, Deadline::never()));
    for (UnderWay& one : under_way) {
      bool ready = false;
      for (std::size_t n = one.first_entry; n < one.end_entry; ++n) ready |= entries[n].revents != 0;
      if (!ready || !TRY(one.client->advance())) continue;
      const Clock::time_point now = Clock::now();
      measured.latencies_us.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - one.since).count());
      one.since = now;
      if (now < end) {
        TRY(one.client->begin());
      } else {
        one.client = nullptr;
      }
    }
    std::erase_if(under_way, [](const UnderWay& one) { return one.client == nullptr; });
  }
  measured.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return measured;
}

double cpu_seconds(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int main(const std::vector<std::string>& words) {
  ::signal(SIGPIPE, SIG_IGN);
  auto load = read_command(words);
  if (!load) {
    fmt::print(stderr, "load: {}\n", load.error().message);
    return 2;
  }
  const auto measured = run(*load);
  if (!measured) {
    fmt::print(stderr, "load: {}\n", measured.error().message);
    return 1;
  }
  fmt::print("{{\"seconds\":{},\"cpu_s\":{},\"children_cpu_s\":{},\"latencies_us\":[{}]}}\n", measured->seconds,
             cpu_seconds(RUSAGE_SELF), cpu_seconds(RUSAGE_CHILDREN), fmt::join(measured->latencies_us, ","));
  return 0;
}

}  // namespace
}  // namespace coderunner::bench

int main(int argc, char** argv) { return coderunner::bench::main({argv, argv + argc}); }
