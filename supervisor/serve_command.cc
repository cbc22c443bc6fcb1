// Role: the service's life, in order.
// Callers: see serve_command.h.
#include "supervisor/serve_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "common/text.h"
#include "supervisor/audit.h"
#include "supervisor/functions_host.h"
#include "supervisor/gate.h"
#include "supervisor/http.h"
#include "supervisor/launch.h"
#include "supervisor/metrics.h"
#include "supervisor/openapi.h"
#include "supervisor/pages.h"
#include "supervisor/reply_json.h"
#include "supervisor/routes.h"
#include "supervisor/run_route.h"
#include "supervisor/sandbox_check.h"
#include "supervisor/signals.h"

namespace coderunner {

namespace {

constexpr std::string_view kFrontPath = "/", kHealthPath = "/api/health", kMetricsPath = "/metrics";
constexpr std::string_view kOpenapiPath = "/openapi.json", kRunPath = "/api/run";
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

RunRouteConfig describe_run_route(const Settings& settings, const Interpreter& python,
                                  const std::atomic<bool>& drain_now) {
  return {.gate = {.keys = settings.api_keys,
                   .allow_origins = settings.allow_origins,
                   // In Azure the caller's Host is the site's, and no browser shares a machine with this service.
                   .loopback = is_loopback_host(settings.listen_host) && settings.starter != Starter::kFunctionsHost},
          .limits = settings.limits,
          .standard_modules = python.standard_modules,
          .drain_now = &drain_now};
}

HttpConfig describe_http(const Settings& settings, const ConnectionLimits& limits, bool hosted, HeldBytes& held) {
  HttpConfig config{.host = settings.listen_host,
                    .port = settings.listen_port,
                    .body_bytes = settings.limits.body_bytes,
                    .connections = limits.connections,
                    .lingering = limits.lingering,
                    .held = &held};
  if (hosted) config.id_headers.emplace(config.id_headers.begin(), kInvocationIdHeader);
  return config;
}

// The report of the check, from the thread that makes it to those that show it.
using SandboxBoard = std::atomic<std::shared_ptr<const SandboxReport>>;

std::vector<Route> list_routes(const RunRoute& run, const Pool& pool, const HeldBytes& held, const SandboxBoard& board,
                               const Metrics& metrics, const Limits& limits) {
  return {
      {"GET", kFrontPath, [](HttpRequest) { return make_front_page(CODERUNNER_VERSION); }},
      {"GET", kHealthPath, [&](HttpRequest) {
         return make_health_page(pool.health(), CODERUNNER_VERSION, board.load().get());
       }},
      {"GET", kMetricsPath, [&](HttpRequest) {
         return metrics.make_page(pool.health(), held.held(), CODERUNNER_VERSION);
       }},
      {"GET", kOpenapiPath, [&](HttpRequest) { return make_openapi_page(limits, CODERUNNER_VERSION); }},
      {"POST", kRunPath, [&](HttpRequest request) { return run.answer(std::move(request)); },
       [&](const HttpRequest& head) { return run.turn_away(head); }},
  };
}

// Until a worker is ready, a birth fails or a signal comes, which is returned.
Result<std::optional<int>> await_first_worker(Pool& pool, const SignalWatch& signals) {
  while (!pool.wait_until_ready(Deadline::in(kLook)) && pool.health().trouble.empty()) {
    if (const auto signal = TRY(signals.wait(Deadline::in(Millis{0})))) return signal;
  }
  return std::nullopt;
}

// Tries the sandbox with the first worker that is ready. An error: the setting is strict, and it is not to be had.
Result<void> report_sandbox(const Settings& settings, const std::string& temp_dir, Pool& pool, SandboxBoard& board) {
  Findings findings;
  const auto tried = try_sandbox(pool, {temp_dir, settings.network, settings.limits}, Trial::kAtHand, findings);
  if (!tried) {
    complain(fmt::format("the sandbox could not be tried: {}", tried.error().message));
    return {};
  }
  SandboxReport report = conclude(findings);
  const std::string weakness = describe_weakness(report);
  const bool fails = check_exit_status(report) == kExitUnusable;
  if (fails) complain(fmt::format("the sandbox does not hold what it promises: {}", weakness));
  board = std::make_shared<const SandboxReport>(std::move(report));
  if (fails && settings.sandbox == SandboxMode::kStrict)
    return fail(Fault::kSandbox, fmt::format("the full sandbox is not to be had here: {}", weakness));
  return {};
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
  if (settings.network == NetworkMode::kHost)
    complain("--network=host: scripts reach whatever this host reaches, servers on its loopback interface included");

  FdAuditSink sink(STDOUT_FILENO);
  AuditLog audit(sink, TRY(TrustedProxies::parse(settings.trusted_proxies)));
  std::atomic<bool> drain_now = false;
  Pool pool(describe_pool(settings, workers, ground, python));
  Metrics metrics({kFrontPath, kHealthPath, kMetricsPath, kOpenapiPath, kRunPath});
  const RunRoute run_route(describe_run_route(settings, python, drain_now), pool, audit, metrics);
  SandboxBoard board;
  HeldBytes held(settings.queue_bytes);
  const Error no_memory{Fault::kBusy, "the requests at hand hold too much memory"};
  Routes routes(list_routes(run_route, pool, held, board, metrics, settings.limits),
                [&](const HttpRequest& request, const HttpReply& reply) { audit.write_refusal(request, reply); },
                [&] { return make_error_reply(no_memory, pool.estimate_wait()); });
  MeteredHandler metered(routes, metrics);
  FunctionsHost functions_host(metered);
  const bool hosted = settings.starter != Starter::kOperator;
  HttpHandler& handler = hosted ? static_cast<HttpHandler&>(functions_host) : metered;
  const ConnectionLimits limits = limit_connections(ground.descriptors, workers, settings.queue);
  const auto server = TRY(HttpServer::bind(describe_http(settings, limits, hosted, held), handler));
  const Serving serving(*server);

  std::optional<int> signal = TRY(await_first_worker(pool, signals));
  if (!signal) {
    const PoolHealth health = pool.health();
    // A reduced worker never says Ready under --sandbox strict: it fails, with the layer that is missing.
    if (settings.sandbox == SandboxMode::kStrict && !health.report)
      return fail(Fault::kSandbox, explain_trouble(health.trouble, {}));
    bool tried = health.report.has_value();
    if (tried) TRY(report_sandbox(settings, ground.temp_dir, pool, board));
    const auto report = board.load();
    sink.write_line(format_start_line(settings, server->port(), workers, python, {report.get(), health.trouble},
                                      ground.notes) + "\n");
    while (!signal) {
      signal = TRY(signals.wait(tried ? Deadline::never() : Deadline::in(kLook)));
      if (signal || tried || !pool.wait_until_ready(Deadline::in(Millis{0}))) continue;
      tried = true;  // the first worker has come late
      TRY(report_sandbox(settings, ground.temp_dir, pool, board));
    }
  }
  signals.exit_at_next();
  drain(pool, drain_now, settings.grace_s);
  return {};
}

std::string describe_sandbox(const StartFacts& facts) {
  if (facts.sandbox == nullptr) return fmt::format(R"("sandbox":"none","detail":{})", quote(facts.trouble));
  const std::string weakness = describe_weakness(*facts.sandbox);
  return fmt::format(R"("sandbox":"{}"{})", level_name(facts.sandbox->level),
                     weakness.empty() ? "" : R"(,"detail":)" + quote(weakness));
}

}  // namespace

std::string format_start_line(const Settings& settings, int port, std::size_t workers, const Interpreter& python,
                              const StartFacts& facts, const std::vector<std::string>& notes) {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::string line = fmt::format(
      R"({{"time":"{:%Y-%m-%dT%H:%M:%S}Z","event":"service_started","host":{},"port":{},"workers":{},"python":{},)"
      R"("python_path":{},{})",
      fmt::gmtime(now), quote(settings.listen_host), port, workers, quote(python.version), quote(python.path),
      describe_sandbox(facts));
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
