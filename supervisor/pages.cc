// Role: GET /api/health and GET /; see pages.h.
#include "supervisor/pages.h"

#include <fmt/format.h>

#include "common/text.h"

namespace coderunner {
namespace {

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

}  // namespace

HttpReply make_health_page(const PoolHealth& health, std::string_view version, const SandboxReport* sandbox) {
  const bool able = health.ready + health.busy + health.resetting > 0;
  const std::string_view status = health.draining ? "draining" : able ? "healthy" : "starting";
  HttpReply reply;
  reply.status = able && !health.draining ? 200 : 503;
  reply.headers.emplace_back("Cache-Control", "no-store");
  reply.body = fmt::format(
    R"({{"status":"{}","version":{},"python":{},"workers":{{"ready":{},"busy":{}}},"queue":{},"leaks":{},"sandbox":{})",
    status, quote(version), health.report ? quote(health.report->python) : "null", health.ready, health.busy,
    health.queued, health.leaks, sandbox != nullptr ? format_sandbox_json(*sandbox) : "null");
  if (!health.trouble.empty()) reply.body += R"(,"trouble":)" + quote(health.trouble);
  reply.body += '}';
  return reply;
}

HttpReply make_front_page(std::string_view version) {
  HttpReply reply;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = fmt::format("CodeRunner {}: POST /api/run runs a Python script, GET /api/health says how it is.\n",
                           version);
  return reply;
}

}  // namespace coderunner
