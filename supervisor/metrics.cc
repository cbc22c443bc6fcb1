// Role: the families of metrics, a row each, and their page.
// Callers: see metrics.h.
// Law: every label value that is known beforehand is there from the start with 0, so that rates work from the first
// event on (Prometheus' instrumentation practices, "avoid missing metrics").
#include "supervisor/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "common/proc_dir.h"

namespace coderunner {

namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using prometheus::Registry;

// Between a warm hello (1 ms) and the longest run that the contract allows (300 s).
const Histogram::BucketBoundaries kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                              1,     2.5,    5,     10,   30,    60,   120, 300};
const Histogram::BucketBoundaries kMemory = {double(8 * kMiB),   double(16 * kMiB),  double(32 * kMiB),
                                             double(64 * kMiB),  double(128 * kMiB), double(256 * kMiB),
                                             double(512 * kMiB), double(1 * kGiB),   double(2 * kGiB),
                                             double(4 * kGiB)};

constexpr auto kVerdicts = std::to_array({Verdict::kOk, Verdict::kError, Verdict::kTimeout, Verdict::kOutOfMemory,
                                          Verdict::kKilled, Verdict::kInternalError});
static_assert(kVerdicts.size() == highest(Verdict{}) + 1U);

constexpr std::string_view kOther = "other";  // a path that is nobody's

double to_seconds(std::uint64_t micros) { return static_cast<double>(micros) / 1e6; }

Family<Counter>& add_counters(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Counter& add_counter(Registry& registry, const char* name, const char* help) {
  return add_counters(registry, name, help).Add({});
}

Histogram& add_histogram(Registry& registry, const char* name, const char* help,
                         const Histogram::BucketBoundaries& buckets = kSeconds) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
}

// ---- what is looked up when the page is asked for

struct Sample {
  std::string label, value;  // of the label; empty: none
  double number = 0;
};

MetricFamily make_family(std::string name, MetricType type, std::string help, const std::vector<Sample>& samples) {
  MetricFamily family{std::move(name), std::move(help), type, {}};
  for (const Sample& sample : samples) {
    prometheus::ClientMetric metric;
    if (!sample.label.empty()) metric.label.push_back({sample.label, sample.value});
    metric.gauge.value = metric.counter.value = sample.number;  // the type says which one is written
    family.metric.push_back(std::move(metric));
  }
  return family;
}

double count(std::uint64_t number) { return static_cast<double>(number); }

std::vector<MetricFamily> describe_pool(const PoolHealth& health) {
  using enum MetricType;
  return {
      make_family("coderunner_workers", Gauge, "Workers by state.",
                  {{"state", "ready", count(health.ready)},
                   {"state", "busy", count(health.busy)},
                   {"state", "resetting", count(health.resetting)},
                   {"state", "starting", count(health.starting)}}),
      make_family("coderunner_jobs_running", Gauge, "Jobs that run at this moment.", {{"", "", count(health.busy)}}),
      make_family("coderunner_queue_jobs", Gauge, "Jobs that wait for a worker.", {{"", "", count(health.queued)}}),
      make_family("coderunner_queue_bytes", Gauge, "Bytes that waiting jobs hold.",
                  {{"", "", count(health.queued_bytes)}}),
      make_family("coderunner_worker_births_total", MetricType::Counter, "Workers started.",
                  {{"", "", count(health.births)}}),
      make_family("coderunner_worker_respawns_total", MetricType::Counter,
                  "Workers started in the place of one that was lost or did not start.",
                  {{"", "", count(health.respawns)}}),
      make_family("coderunner_template_births_total", MetricType::Counter, "Warm templates started.",
                  {{"", "", count(health.templates.births)}}),
      make_family("coderunner_template_losses_total", MetricType::Counter,
                  "Warm templates that ended before their time, were stopped, or failed to fork.",
                  {{"", "", count(health.templates.losses)}}),
      make_family("coderunner_template_forks_total", MetricType::Counter, "Runners forked from warm templates.",
                  {{"", "", count(health.templates.forks)}}),
      make_family("coderunner_leaks_total", MetricType::Counter,
                  "Jobs that left something behind; the worker of each is replaced.", {{"", "", count(health.leaks)}}),
      make_family("coderunner_draining", Gauge, "1 while the service shuts down.",
                  {{"", "", health.draining ? 1.0 : 0.0}}),
  };
}

// What lives below the workers is theirs: templates by what they have told, so that no job can pass for one, and the
// rest, which is sandboxes with a parked or a running interpreter in them.
std::vector<MetricFamily> describe_memory(const PoolHealth& health) {
  const auto proc = ProcDir::open();
  const auto below = proc ? descendants(*proc, ::getpid()) : std::unexpected(proc.error());
  if (!below) return {};
  const auto among = [](const std::vector<pid_t>& pids, pid_t pid) {
    return std::ranges::find(pids, pid) != pids.end();
  };
  std::vector<pid_t> ours = health.worker_pids;  // and what they started
  std::uint64_t of_workers = 0, of_templates = 0, of_sandboxes = 0;
  for (const ProcessInfo& process : *below) {
    if (among(health.worker_pids, process.pid)) of_workers += process.resident_pages;
    if (!among(ours, process.parent)) continue;
    ours.push_back(process.pid);
    (among(health.template_pids, process.pid) ? of_templates : of_sandboxes) += process.resident_pages;
  }
  const auto bytes = [](std::uint64_t pages) { return count(pages * static_cast<Bytes>(::sysconf(_SC_PAGESIZE))); };
  return {make_family("coderunner_resident_memory_bytes", MetricType::Gauge,
                      "Resident memory of what the service has started; pages that processes share count in each.",
                      {{"process", "workers", bytes(of_workers)},
                       {"process", "templates", bytes(of_templates)},
                       {"process", "sandboxes", bytes(of_sandboxes)}})};
}

// The names are those of every Prometheus client library.
std::vector<MetricFamily> describe_process() {
  std::vector<MetricFamily> families;
  std::uint64_t all_pages = 0, resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> all_pages >> resident_pages) {  // proc(5)
    families.push_back(make_family("process_resident_memory_bytes", MetricType::Gauge, "Resident memory size in bytes.",
                                   {{"", "", count(resident_pages * static_cast<Bytes>(::sysconf(_SC_PAGESIZE)))}}));
  }
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  if (!error) {
    const auto open = std::distance(begin(descriptors), end(descriptors)) - 1;  // less the one that reads them
    families.push_back(make_family("process_open_fds", MetricType::Gauge, "Number of open file descriptors.",
                                   {{"", "", static_cast<double>(open)}}));
  }
  return families;
}

}  // namespace

struct Metrics::Families {
  explicit Families(std::vector<std::string_view> known) : paths(std::move(known)) {
    for (const Verdict verdict : kVerdicts) jobs.Add({{"verdict", std::string(verdict_name(verdict))}});
  }

  const std::vector<std::string_view> paths;
  Registry registry;
  Family<Counter>& requests = add_counters(registry, "coderunner_http_requests_total",
      "Requests answered, by path, by mode of a run that was understood (else none) and by status.");
  Family<Counter>& jobs = add_counters(registry, "coderunner_jobs_total", "Jobs that came to an end, by verdict.");
  Counter& cancelled = jobs.Add({{"verdict", "cancelled"}});
  Family<Counter>& runners = add_counters(registry, "coderunner_runners_total",
      "Jobs that came to an end, by how their Python was started: warm (forked from a template) or fresh.");
  Counter& warm = runners.Add({{"runner", "warm"}});
  Counter& fresh = runners.Add({{"runner", "fresh"}});
  Counter& input = add_counter(registry, "coderunner_input_bytes_total",
      "Bytes of scripts, files and standard input taken in.");
  Family<Counter>& output = add_counters(registry, "coderunner_output_bytes_total",
      "Bytes of output that workers handed back.");
  Counter& out = output.Add({{"kind", "stdout"}});
  Counter& err = output.Add({{"kind", "stderr"}});
  Counter& artifacts = output.Add({{"kind", "artifacts"}});
  Counter& cpu = add_counter(registry, "coderunner_job_cpu_seconds_total", "Processor time of jobs.");
  Histogram& queue = add_histogram(registry, "coderunner_queue_seconds", "Time that jobs waited for a worker.");
  Histogram& setup = add_histogram(registry, "coderunner_setup_seconds",
      "Time from a job's arrival at its worker to its script's start.");
  Histogram& run = add_histogram(registry, "coderunner_run_seconds", "Time that scripts ran.");
  Histogram& collect = add_histogram(registry, "coderunner_collect_seconds", "Time to collect artifacts.");
  Histogram& memory = add_histogram(registry, "coderunner_job_peak_memory_bytes",
      "Peak memory of a job, where the machine can tell.", kMemory);
};

Metrics::Metrics(std::vector<std::string_view> paths) : families_(std::make_unique<Families>(std::move(paths))) {}
Metrics::~Metrics() = default;

void Metrics::count_request(std::string_view path, std::string_view mode, int status) {
  const bool known = std::ranges::find(families_->paths, path) != families_->paths.end();
  families_->requests
      .Add({{"path", std::string(known ? path : kOther)},
            {"mode", mode.empty() ? "none" : std::string(mode)},
            {"status", std::to_string(status)}})
      .Increment();
}

void Metrics::count_input(Bytes bytes) { families_->input.Increment(count(bytes)); }
void Metrics::count_queue_time(Micros waited) {
  families_->queue.Observe(to_seconds(static_cast<std::uint64_t>(waited.count())));
}
void Metrics::count_cancelled() { families_->cancelled.Increment(); }
void Metrics::count_stdout(Bytes bytes) { families_->out.Increment(count(bytes)); }
void Metrics::count_stderr(Bytes bytes) { families_->err.Increment(count(bytes)); }
void Metrics::count_artifact(Bytes bytes) { families_->artifacts.Increment(count(bytes)); }

void Metrics::count_run(const ExitReport& report) {
  families_->jobs.Add({{"verdict", std::string(verdict_name(report.verdict))}}).Increment();
  // A worker that was lost, or could not begin, has measured nothing.
  if (report.verdict == Verdict::kInternalError) return;
  (report.warm ? families_->warm : families_->fresh).Increment();
  families_->setup.Observe(to_seconds(report.setup_us));
  families_->run.Observe(to_seconds(report.run_us));
  families_->collect.Observe(to_seconds(report.collect_us));
  families_->cpu.Increment(to_seconds(report.cpu_us));
  if (report.peak_memory_bytes > 0) families_->memory.Observe(count(report.peak_memory_bytes));
}

HttpReply Metrics::make_page(const PoolHealth& health, Bytes held, std::string_view version) const {
  std::vector<MetricFamily> all = families_->registry.Collect();
  const auto append = [&all](std::vector<MetricFamily> more) { std::ranges::move(more, std::back_inserter(all)); };
  append({make_family("coderunner_build_info", MetricType::Gauge, "1, with the version.",
                      {{"version", std::string(version), 1}})});
  append(describe_pool(health));
  append({make_family("coderunner_held_bytes", MetricType::Gauge,
                      "Bytes of requests that are being read or wait for a worker, and of answers that have not been "
                      "sent; above --queue-bytes no further request is read.",
                      {{"", "", count(held)}})});
  append(describe_process());
  append(describe_memory(health));
  HttpReply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.headers.emplace_back("Cache-Control", "no-store");
  reply.body = prometheus::TextSerializer().Serialize(all);
  return reply;
}

std::string_view mode_name(RequestMode mode) {
  switch (mode) {
    case RequestMode::kRaw: return "raw";
    case RequestMode::kScript: return "script";
    case RequestMode::kFiles: return "files";
  }
  return "";
}

void MeteredSink::on_stdout(std::string_view bytes) {
  metrics_.count_stdout(bytes.size());
  inner_.on_stdout(bytes);
}

void MeteredSink::on_stderr(std::string_view bytes) {
  metrics_.count_stderr(bytes.size());
  inner_.on_stderr(bytes);
}

void MeteredSink::on_artifact(const ArtifactHeader& header) { inner_.on_artifact(header); }

void MeteredSink::on_artifact_data(std::string_view bytes) {
  metrics_.count_artifact(bytes.size());
  inner_.on_artifact_data(bytes);
}

HttpReply MeteredHandler::answer(HttpRequest request) {
  const std::string path = request.path;
  HttpReply reply = inner_.answer(std::move(request));
  metrics_.count_request(path, reply.mode, reply.status);
  return reply;
}

void MeteredHandler::on_refused(const HttpRequest& request, const HttpReply& reply) {
  metrics_.count_request(request.path, reply.mode, reply.status);
  inner_.on_refused(request, reply);
}

}  // namespace coderunner
