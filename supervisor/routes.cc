// Role: finds the handler of a request; see routes.h.
#include "supervisor/routes.h"

#include <algorithm>
#include <cassert>
#include <string>

#include <fmt/format.h>

#include "supervisor/reply_json.h"

namespace coderunner {
namespace {

bool serves(const Route& route, std::string_view method) {
  return route.method == method || (method == "HEAD" && route.method == "GET");
}

}  // namespace

Routes::Routes(std::vector<Route> table, OnRefused on_refused, Busy busy)
    : table_(std::move(table)), on_refused_(std::move(on_refused)), busy_(std::move(busy)) {}

std::optional<HttpReply> Routes::refuse(const HttpRequest& head) {
  if (const Route* route = find(head)) return route->refuse ? route->refuse(head) : std::nullopt;
  std::string allow;
  for (const Route& route : table_) {
    if (route.path != head.path) continue;
    if (!allow.empty()) allow += ", ";
    allow += route.method;
    if (route.method == "GET") allow += ", HEAD";
  }
  if (allow.empty()) return make_error_reply({Fault::kNotFound, "not found"});
  HttpReply reply = make_error_reply({Fault::kMethod, fmt::format("method not allowed: use {}", allow)});
  reply.headers.emplace_back("Allow", allow);
  return reply;
}

HttpReply Routes::answer(HttpRequest request) {
  const Route* route = find(request);
  assert(route != nullptr);  // refuse() has let it through
  return route->answer(std::move(request));
}

HttpReply Routes::refuse_busy(const HttpRequest&) { return busy_(); }

void Routes::on_refused(const HttpRequest& request, const HttpReply& reply) { on_refused_(request, reply); }

const Route* Routes::find(const HttpRequest& request) const {
  const auto row = std::ranges::find_if(table_, [&](const Route& route) {
    return route.path == request.path && serves(route, request.method);
  });
  return row == table_.end() ? nullptr : &*row;
}

}  // namespace coderunner
