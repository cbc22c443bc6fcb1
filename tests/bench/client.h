// Role: one of the clients that put load on what is measured: it has one request or one process under way at a time.
// Callers: load.cc drives many of them from one thread.
// Law: never blocks; costs little, since it shares the processors with what it measures.
#pragma once

#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include "common/result.h"

namespace coderunner::bench {

class Client {
 public:
  virtual ~Client() = default;
  // Precondition: nothing is under way.
  virtual Result<void> begin() = 0;
  // What it waits for now, appended.
  virtual void wait_for(std::vector<pollfd>& entries) const = 0;
  // Goes on as far as it can; true when what was begun has ended as it should.
  virtual Result<bool> advance() = 0;
};

// POST /api/run with `body` on a connection that is kept; the answer must be 200 with exit code 0.
Result<std::unique_ptr<Client>> make_http_client(int port, const std::string& body);

// `python script.py` in `directory` by posix_spawn(3) with pipes; it must end with 0 and write `output_bytes`.
struct BareJob {
  std::string python, directory, input;
  std::size_t output_bytes = 0;
};
Result<std::unique_ptr<Client>> make_bare_client(const BareJob& job);

}  // namespace coderunner::bench
