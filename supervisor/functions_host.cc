// Role: unwraps, runs once, wraps; see functions_host.h.
#include "supervisor/functions_host.h"

#include <strings.h>

#include <algorithm>

#include "supervisor/functions_envelope.h"
#include "supervisor/recorded_stream.h"
#include "supervisor/reply_json.h"

namespace coderunner {
namespace {

const HostedFunction* find_function(const HttpRequest& request) {
  const auto* row = std::ranges::find(kHostedFunctions, request.path, &HostedFunction::envelope_path);
  return row == kHostedFunctions.end() || request.method != "POST" ? nullptr : row;
}

}  // namespace

std::optional<HttpReply> FunctionsHost::refuse(const HttpRequest& head) {
  return find_function(head) != nullptr ? std::nullopt : routes_.refuse(head);
}

HttpReply FunctionsHost::answer(HttpRequest request) {
  if (const HostedFunction* function = find_function(request)) return answer_envelope(*function, std::move(request));
  return answer_once(std::move(request));
}

void FunctionsHost::on_refused(const HttpRequest& request, const HttpReply& reply) {
  routes_.on_refused(request, reply);
}

HttpReply FunctionsHost::answer_envelope(const HostedFunction& function, HttpRequest outer) {
  auto inner = read_envelope(outer.body);
  if (!inner) return refuse_with(outer, make_error_reply(inner.error()));
  std::string().swap(outer.body);  // the wait may be long
  inner->path = function.path;     // whatever route the app gives the function
  inner->request_id = outer.request_id;
  inner->peer_ip = outer.peer_ip;
  inner->client_fd = outer.client_fd;
  inner->held = outer.held;
  inner->arrived = outer.arrived;
  // An envelope is one piece of JSON: no live output in it. The id that counts is the host's, in the outer head.
  std::erase_if(inner->headers, [&](const auto& header) {
    return strcasecmp(header.first.c_str(), "Accept") == 0 ||
           strcasecmp(header.first.c_str(), std::string(kInvocationIdHeader).c_str()) == 0;
  });
  if (const auto id = outer.header(kInvocationIdHeader)) inner->headers.emplace_back(kInvocationIdHeader, *id);
  if (auto refusal = routes_.refuse(*inner)) {
    return make_envelope(refuse_with(*inner, std::move(*refusal)), outer.request_id);
  }
  return make_envelope(answer_once(std::move(*inner)), outer.request_id);
}

HttpReply FunctionsHost::answer_once(HttpRequest request) {
  // One that is not fit to be a request id (two of them, because the caller sent one too) is no id of the host's.
  const bool invoked = request.method == "POST" && request.header(kInvocationIdHeader) == request.request_id;
  if (!invoked) return routes_.answer(std::move(request));
  const std::string id = request.request_id;
  return invocations_.answer_once(id, [&] { return answer_recorded(std::move(request)); });
}

// What was given live is sent again in one piece.
HttpReply FunctionsHost::answer_recorded(HttpRequest request) {
  if (request.stream == nullptr) return routes_.answer(std::move(request));
  RecordedStream recorded(*request.stream, bounds_.bytes);
  request.stream = &recorded;
  HttpReply reply = routes_.answer(std::move(request));
  if (!recorded.begun()) return reply;
  return recorded.whole() ? recorded.reply() : make_error_reply(Error{Fault::kUnavailable, "not kept"});
}

HttpReply FunctionsHost::refuse_with(const HttpRequest& request, HttpReply reply) {
  routes_.on_refused(request, reply);
  return reply;
}

}  // namespace coderunner
