// Role: the service's life, in order.
// Callers: see serve_command.h.
#include "supervisor/serve_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "common/text.h"
#include "supervisor/audit.h"
#include "supervisor/gate.h"
#include "supervisor/http.h"
#include "supervisor/launch.h"
#include "supervisor/metrics.h"
#include "supervisor/pages.h"
#include "supervisor/routes.h"
#include "supervisor/run_route.h"
#include "supervisor/signals.h"

namespace coderunner {

namespace {

constexpr std::string_view kFrontPath = "/", kHealthPath = "/api/health", kMetricsPath = "/metrics";
constexpr std::string_view kRunPath = "/api/run";
constexpr Millis kLook{50};             // between looks at signals while the first worker starts
constexpr Millis kEndingLimit{25'000};  // for jobs that are told to end; a session's own margin is 20 s

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

// The server on a thread of its own, from here to the end of the scope.
class Serving {
 public:
  explicit Serving(HttpServer& server) : server_(server), thread_([this] { server_.serve(); }) {}
  ~Serving() { server_.stop(); }  // and the thread's end is waited for: running requests are answered first

 private:
  HttpServer& server_;
  std::jthread thread_;
};

RunRouteConfig describe_run_route(const Settings& settings, const std::atomic<bool>& drain_now) {
  return {.gate = {.keys = settings.api_keys,
                   .allow_origins = settings.allow_origins,
                   .loopback = is_loopback_host(settings.listen_host)},
          .limits = settings.limits,
          .drain_now = &drain_now};
}

std::vector<Route> list_routes(const RunRoute& run, const Pool& pool, const Metrics& metrics) {
  return {
      {"GET", kFrontPath, [](HttpRequest) { return make_front_page(CODERUNNER_VERSION); }},
      {"GET", kHealthPath, [&](HttpRequest) { return make_health_page(pool.health(), CODERUNNER_VERSION); }},
      {"GET", kMetricsPath, [&](HttpRequest) { return metrics.make_page(pool.health(), CODERUNNER_VERSION); }},
      {"POST", kRunPath, [&](HttpRequest request) { return run.answer(std::move(request)); }},
  };
}

// Until a worker is ready, a birth fails or a signal comes, which is returned.
Result<std::optional<int>> await_first_worker(Pool& pool, const SignalWatch& signals) {
  while (!pool.wait_until_ready(Deadline::in(kLook)) && pool.health().trouble.empty()) {
    if (const auto signal = TRY(signals.wait(Deadline::in(Millis{0})))) return signal;
  }
  return std::nullopt;
}

// No new job; those that run may end by themselves for the grace period, then as timed out.
void drain(Pool& pool, std::atomic<bool>& drain_now, std::uint64_t grace_s) {
  pool.drain();
  if (pool.wait_until_idle(Deadline::in(std::chrono::seconds(grace_s)))) return;
  drain_now = true;
  if (!pool.wait_until_idle(Deadline::in(kEndingLimit))) complain("some jobs do not end");
}

Result<void> serve(const Settings& settings, std::span<char> title_area) {
  const SignalWatch signals = TRY(SignalWatch::make());
  const std::size_t workers = count_workers(settings);
  Ground ground = TRY(lay_ground(settings, workers, title_area));
  const Interpreter python = TRY(find_python(settings));

  FdAuditSink sink(STDOUT_FILENO);
  AuditLog audit(sink, TRY(TrustedProxies::parse(settings.trusted_proxies)));
  std::atomic<bool> drain_now = false;
  Pool pool(describe_pool(settings, workers, ground, python));
  Metrics metrics({kFrontPath, kHealthPath, kMetricsPath, kRunPath});
  const RunRoute run_route(describe_run_route(settings, drain_now), pool, audit, metrics);
  Routes routes(list_routes(run_route, pool, metrics),
                [&](const HttpRequest& request, const HttpReply& reply) { audit.write_refusal(request, reply); });
  MeteredHandler handler(routes, metrics);
  const auto server = TRY(HttpServer::bind({.host = settings.listen_host,
                                            .port = settings.listen_port,
                                            .body_bytes = settings.limits.body_bytes}, handler));
  const Serving serving(*server);

  std::optional<int> signal = TRY(await_first_worker(pool, signals));
  if (!signal) {
    const PoolHealth health = pool.health();
    // A reduced worker never says Ready under --sandbox strict: it fails, with the layer that is missing.
    if (settings.sandbox == SandboxMode::kStrict && !health.report) return fail(Fault::kSandbox, health.trouble);
    sink.write_line(format_start_line(settings, server->port(), workers, python, health, ground.notes) + "\n");
    TRY(signals.wait(Deadline::never()));
  }
  signals.exit_at_next();
  drain(pool, drain_now, settings.grace_s);
  return {};
}

std::string describe_sandbox(const PoolHealth& health) {
  if (!health.report) return fmt::format(R"("sandbox":"none","detail":{})", quote(health.trouble));
  if (health.report->level == SandboxLevel::kFull) return R"("sandbox":"full")";
  std::string reasons;
  for (const LayerState& layer : health.report->layers) {
    if (!layer.active) reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", layer.name, layer.detail);
  }
  return fmt::format(R"("sandbox":"reduced","detail":{})", quote(reasons));
}

}  // namespace

std::string format_start_line(const Settings& settings, int port, std::size_t workers, const Interpreter& python,
                              const PoolHealth& health, const std::vector<std::string>& notes) {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::string line = fmt::format(
      R"({{"time":"{:%Y-%m-%dT%H:%M:%S}Z","event":"service_started","host":{},"port":{},"workers":{},"python":{},)"
      R"("python_path":{},{})",
      fmt::gmtime(now), quote(settings.listen_host), port, workers, quote(python.version), quote(python.path),
      describe_sandbox(health));
  std::string list;
  for (const std::string& note : notes) list += (list.empty() ? "" : ",") + quote(note);
  if (!python.note.empty()) list += (list.empty() ? "" : ",") + quote(python.note);
  return line + (list.empty() ? "}" : fmt::format(R"(,"notes":[{}]}})", list));
}

int serve_command(const Settings& settings, std::span<char> title_area) {
  const auto served = serve(settings, title_area);
  if (served) return 0;
  complain(served.error().message);
  return 1;
}

}  // namespace coderunner
