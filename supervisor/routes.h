// Role: the table of what is served: method, path, handler.
// Callers: main.cc fills it; http.h calls it.
// Law: HEAD is answered wherever GET is (RFC 9110 section 9.3.2); a known path with another method is 405 with Allow.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "supervisor/http.h"

namespace coderunner {

struct Route {
  std::string_view method;  // "GET", "POST"
  std::string_view path;    // matched whole
  std::function<HttpReply(HttpRequest)> answer;
  // Of what the head alone tells: a reply turns the request away before its body is read. Empty: nothing to ask.
  std::function<std::optional<HttpReply>(const HttpRequest&)> refuse = {};
};

class Routes : public HttpHandler {
 public:
  using OnRefused = std::function<void(const HttpRequest&, const HttpReply&)>;
  using Busy = std::function<HttpReply()>;  // when there is no room for another body
  Routes(std::vector<Route> table, OnRefused on_refused, Busy busy);

  std::optional<HttpReply> refuse(const HttpRequest& head) override;
  HttpReply answer(HttpRequest request) override;
  HttpReply refuse_busy(const HttpRequest& head) override;
  void on_refused(const HttpRequest& request, const HttpReply& reply) override;

 private:
  [[nodiscard]] const Route* find(const HttpRequest& request) const;
  const std::vector<Route> table_;
  const OnRefused on_refused_;
  const Busy busy_;
};

}  // namespace coderunner
