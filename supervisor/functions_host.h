// Role: what differs when the Azure Functions host started this service: its envelope, its ids, its repetitions.
// Callers: serve_command.cc puts it in front of the routes.
// Law: only under the host, whose word is believed: it alone reaches the loopback port that it chose. A request that is
// forwarded or proxied goes to the routes as it came; one in an envelope is unwrapped, routed and wrapped again.
#pragma once

#include <array>
#include <string_view>

#include "supervisor/http.h"
#include "supervisor/invocations.h"

namespace coderunner {

inline constexpr std::string_view kInvocationIdHeader = "X-Azure-Functions-InvocationId";

// A function of the app (the folder of its function.json), and what it stands for.
struct HostedFunction {
  std::string_view envelope_path;  // where the host posts its envelope: "/" and the function's name
  std::string_view path;
};
inline constexpr std::array kHostedFunctions = {HostedFunction{"/run", "/api/run"},
                                                HostedFunction{"/health", "/api/health"}};

class FunctionsHost : public HttpHandler {
 public:
  // `routes` outlives it.
  explicit FunctionsHost(HttpHandler& routes, InvocationBounds bounds = {})
      : routes_(routes), bounds_(bounds), invocations_(bounds) {}

  std::optional<HttpReply> refuse(const HttpRequest& head) override;
  HttpReply answer(HttpRequest request) override;
  HttpReply refuse_busy(const HttpRequest& head) override { return routes_.refuse_busy(head); }
  void on_refused(const HttpRequest& request, const HttpReply& reply) override;

 private:
  HttpReply answer_envelope(const HostedFunction& function, HttpRequest outer);
  HttpReply answer_once(HttpRequest request);
  HttpReply answer_recorded(HttpRequest request);
  HttpReply refuse_with(const HttpRequest& request, HttpReply reply);

  HttpHandler& routes_;
  const InvocationBounds bounds_;
  Invocations invocations_;
};

}  // namespace coderunner
