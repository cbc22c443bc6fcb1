// Role: how a function says that it could not do its work, and what its caller should do next.
// Callers: everything.
// Law: only our own failures and refused requests are errors. A script that fails is data (ExitReport).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace coderunner {

// What the caller should do next. The HTTP status of each is in supervisor/reply_json.cc, one row a fault.
enum class Fault : std::uint8_t {
  kClient,          // the request is wrong: tell the client what to change
  kUnauthorized,    // key missing or wrong
  kForbidden,       // origin or host refused, or a feature switched off
  kNotFound,        // no such path
  kMethod,          // path exists, method does not
  kSlowBody,        // the body did not arrive in time
  kLengthRequired,  // a body without a length
  kTooLarge,        // script, file, total or body above its limit
  kBusy,            // the queue is full: try again later
  kUnavailable,     // draining, or no worker can start: try again later
  kNotStarted,      // the worker was lost before it began the job: give that to another one
  kWorkerLost,      // the worker died or broke the protocol: this job is lost, the worker is replaced
  kSandbox,         // the sandbox could not be built
  kInternal,        // anything else that is our fault
};

struct Error {
  Fault fault = Fault::kInternal;
  std::string message;  // one line, names the call or the field and the cure
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Fault fault, std::string message) {
  return std::unexpected<Error>(Error{fault, std::move(message)});
}

}  // namespace coderunner

// Takes the value out of a Result, or returns its error from the enclosing function.
// A statement expression (GCC and clang), because GCC 12's std::expected has no and_then().
#define TRY(expression)                                                    \
  ({                                                                       \
    auto try_result_ = (expression);                                       \
    if (!try_result_) return std::unexpected(std::move(try_result_.error())); \
    *std::move(try_result_);                                               \
  })
