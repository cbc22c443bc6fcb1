// Role: POST /api/run from top to bottom.
// Callers: main.cc puts it into the routes.
// Law: the story of a request is told here and nowhere else; each step is another file's.
#pragma once

#include <atomic>

#include "common/limits.h"
#include "supervisor/audit.h"
#include "supervisor/gate.h"
#include "supervisor/http.h"
#include "supervisor/imports.h"
#include "supervisor/metrics.h"
#include "supervisor/pool.h"

namespace coderunner {

struct RunRouteConfig {
  GateConfig gate;
  Limits limits;
  ModuleNames standard_modules;                  // what needs no packages; empty: every import does
  const std::atomic<bool>* drain_now = nullptr;  // SessionWatch::drain_now
};

class RunRoute {
 public:
  RunRoute(RunRouteConfig config, Pool& pool, AuditLog& audit, Metrics& metrics)
      : config_(std::move(config)), pool_(pool), audit_(audit), metrics_(metrics) {}

  // Who may not run code here need not send a body: a reply to the head, or nullopt.
  std::optional<HttpReply> turn_away(const HttpRequest& head) const;
  // Asks the same again: a request inside another one has had no head of its own.
  HttpReply answer(HttpRequest http) const;

 private:
  HttpReply run(const HttpRequest& http, const RunRequest& request, AuditRecord record) const;
  HttpReply refuse(AuditEvent event, AuditRecord record, const HttpRequest& http, const Error& error) const;
  void log_end(AuditRecord record, const HttpRequest& http, const ExitReport& report) const;

  const RunRouteConfig config_;
  Pool& pool_;
  AuditLog& audit_;
  Metrics& metrics_;
};

}  // namespace coderunner
