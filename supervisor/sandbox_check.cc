// Role: see sandbox_check.h.
#include "supervisor/sandbox_check.h"

#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "common/frame.h"
#include "common/sys.h"
#include "supervisor/reply_json.h"
#include "supervisor/sandbox_bait.h"
#include "supervisor/session.h"

namespace coderunner {

namespace {

constexpr std::string_view kProbe =
#include "sandbox_probe.inc"
    ;
// Each uses up what it is about: 256 MiB of memory, 32 MiB of disk space; then it waits for its end.
constexpr std::string_view kUseMemory =
    "import time\n"
    "held = [b'x' * 1048576 + b'%d' % n for n in range(256)]\n"
    "time.sleep(60)\n";
constexpr std::string_view kUseDisk =
    "import time\n"
    "for n in range(512): open('f%d' % n, 'wb').write(bytes(65536))\n"
    "time.sleep(60)\n";

constexpr std::uint64_t kProbeLimitMs = 60'000;
constexpr Millis kWarmLimit{30'000};

// What an older Landlock can not refuse where it is all there is (landlock(7)).
struct Gap {
  std::string_view layer, tried;
  unsigned needs_abi;
  std::string_view cure;
};
constexpr Gap kGaps[] = {
    {"other_processes", "signal the service", 6, "Linux 6.12"},
    {"other_processes", "read /proc of the service", 1, "Linux 5.13 with landlock"},
    {"read_only_tree", "write into the folders that Python imports from", 1, "Linux 5.13 with landlock"},
};

const Gap* find_gap(const Attempt& attempt, unsigned abi) {
  const auto gap = std::ranges::find_if(kGaps, [&](const Gap& row) {
    return row.layer == attempt.layer && row.tried == attempt.tried && abi < row.needs_abi;
  });
  return gap == std::end(kGaps) ? nullptr : gap;
}

void append(std::string& list, std::string_view item) {
  if (list.find(item) != list.npos) return;
  if (!list.empty()) list += ", ";
  list += item;
}

LayerReport& layer_of(SandboxReport& report, std::string_view name) {
  const auto known = std::ranges::find(report.layers, name, &LayerReport::name);
  if (known != report.layers.end()) return *known;
  LayerReport fresh;
  fresh.name = name;
  return report.layers.emplace_back(std::move(fresh));
}

void add_attempt(LayerReport& layer, const Attempt& attempt, SandboxLevel level, unsigned abi) {
  if (layer.status == LayerStatus::kMissing) return;  // what it does not prevent is no news
  if (attempt.outcome == Outcome::kSkipped) {
    if (layer.found.empty() && layer.tried.empty()) layer.found = "not tried: " + attempt.found;
    return;
  }
  if (attempt.outcome == Outcome::kRefused) {
    if (layer.status == LayerStatus::kFails) return;
    if (layer.status == LayerStatus::kInForce) layer.found.clear();
    layer.status = LayerStatus::kHolds;
    append(layer.tried, attempt.tried);
    append(layer.found, attempt.found);
    return;
  }
  const Gap* gap = level == SandboxLevel::kReduced ? find_gap(attempt, abi) : nullptr;
  layer.status = gap != nullptr ? LayerStatus::kMissing : LayerStatus::kFails;
  layer.tried = attempt.tried;
  layer.found = gap != nullptr ? fmt::format("{}: not covered by Landlock ABI {}", attempt.tried, abi)
                               : fmt::format("{}: {}", attempt.tried, attempt.found);
  if (gap != nullptr) layer.cure = gap->cure;
}

std::string memory_accounting(const ReadyReport& ready) {
  const auto memory = std::ranges::find(ready.layers, "memory", &LayerState::name);
  for (const std::string_view source : {"cgroup v1", "cgroup v2"}) {
    if (memory != ready.layers.end() && memory->detail.find(fmt::format("memory: {}", source)) != std::string::npos)
      return std::string(source);
  }
  return "watcher";
}

class Check {
 public:
  Check(Pool& pool, const CheckTask& task, Findings& findings)
      : pool_(pool), task_(task), findings_(findings), bait_(task.temp_dir) {}

  // A worker's first sandboxes are parked while its template is still importing. Some workers have no templates.
  Result<void> probe_until_warm() {
    const Deadline limit = Deadline::in(kWarmLimit);
    while (TRY(probe()) != "warm" && findings_.ready.templates) {
      if (!limit.passed()) continue;
      findings_.attempts.push_back({"probe", "run on a warm runner", Outcome::kAllowed, "no template comes up"});
      return {};
    }
    return {};
  }

  // Which kind of runner it had.
  Result<std::string_view> probe() {
    findings_.ready = pool_.health().report.value_or(ReadyReport{});
    CollectingSink sink;
    const std::string bait = bait_.describe(findings_.ready, task_.network, task_.limits);
    const ExitReport end = TRY(run_job(kProbe, {bait}, sink));
    std::ranges::move(parse_attempts(sink.stdout_bytes()), std::back_inserter(findings_.attempts));
    if (end.exit_code != 0) {
      findings_.attempts.push_back({"probe", "run to its end", Outcome::kAllowed,
                                    fmt::format("exit code {} {} {}", end.exit_code, end.reason, sink.stderr_bytes())});
    }
    const std::string_view kind = end.warm ? "warm" : "fresh";
    if (findings_.runners.find(kind) == std::string::npos)
      findings_.runners += fmt::format("{}{}", findings_.runners.empty() ? "" : " and ", kind);
    return kind;
  }

  Result<void> use_up() {
    TRY(use_up("memory", "use more than --memory", kUseMemory, LimitName::kMemory));
    if (findings_.ready.level == SandboxLevel::kFull) return {};  // there the probe itself fills the disk space
    return use_up("scratch", "write more than --scratch", kUseDisk, LimitName::kScratch);
  }

 private:
  Result<ExitReport> run_job(std::string_view script, std::vector<std::string> args, CollectingSink& sink) {
    RunRequest request;
    request.job.args = std::move(args);
    request.job.timeout_ms = kProbeLimitMs;
    request.files.push_back({std::string(kScriptName), std::string(script), false});
    Lease lease = TRY(pool_.borrow(0, -1));
    return run_session(std::move(lease), request, sink, {});
  }

  Result<void> use_up(std::string_view layer, std::string_view tried, std::string_view script, LimitName limit) {
    CollectingSink sink;
    const ExitReport end = TRY(run_job(script, {}, sink));
    const Outcome outcome = end.limit == limit ? Outcome::kRefused : Outcome::kAllowed;
    findings_.attempts.push_back({std::string(layer), std::string(tried), outcome,
                                  fmt::format("ended with {}", end.exit_code)});
    return {};
  }

  Pool& pool_;
  const CheckTask& task_;
  Findings& findings_;
  Bait bait_;
};

}  // namespace

std::vector<Attempt> parse_attempts(std::string_view output) {
  constexpr std::array<std::string_view, 3> kOutcomes = {"refused", "allowed", "skipped"};
  std::vector<Attempt> attempts;
  while (!output.empty()) {
    std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    std::array<std::string_view, 4> fields;
    for (std::string_view& field : fields) {
      field = line.substr(0, line.find('\t'));
      line.remove_prefix(std::min(field.size() + 1, line.size()));
    }
    const auto outcome = std::ranges::find(kOutcomes, fields[2]);
    if (outcome == kOutcomes.end()) continue;
    attempts.push_back({std::string(fields[0]), std::string(fields[1]),
                        static_cast<Outcome>(outcome - kOutcomes.begin()), std::string(fields[3])});
  }
  return attempts;
}

KernelFacts read_kernel_facts() {
  utsname name{};
  ::uname(&name);
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return {name.release, abi > 0 ? static_cast<unsigned>(abi) : 0};
}

SandboxReport make_sandbox_report(const ReadyReport& ready, std::span<const Attempt> attempts,
                                  const KernelFacts& kernel, const MachineFacts& machine) {
  SandboxReport report;
  report.level = ready.level;
  report.kernel = kernel.release;
  report.python = ready.python;
  report.memory_accounting = memory_accounting(ready);
  report.landlock_abi = kernel.landlock_abi;
  for (const LayerState& state : ready.layers) {
    LayerReport& layer = layer_of(report, state.name);
    layer.status = state.active ? LayerStatus::kInForce : LayerStatus::kMissing;
    layer.means = state.detail;
  }
  for (const Attempt& attempt : attempts)
    add_attempt(layer_of(report, attempt.layer), attempt, report.level, kernel.landlock_abi);
  for (LayerReport& layer : report.layers) explain_layer(layer, machine);
  return report;
}

Result<void> try_sandbox(Pool& pool, const CheckTask& task, Trial trial, Findings& findings) {
  Check check(pool, task, findings);
  if (trial == Trial::kUntilWarm) return check.probe_until_warm();
  TRY(check.probe());
  return trial == Trial::kUseUp ? check.use_up() : Result<void>{};
}

SandboxReport conclude(const Findings& findings) {
  SandboxReport report = make_sandbox_report(findings.ready, findings.attempts, read_kernel_facts(), {});
  report.runner = findings.runners;
  return report;
}

std::string explain_trouble(const std::string& trouble, const MachineFacts& machine) {
  LayerReport layer{"namespaces", LayerStatus::kMissing, trouble, "", "", ""};
  explain_layer(layer, machine);
  std::string text = trouble;
  if (!layer.found.empty()) text += " (" + layer.found + ")";
  if (!layer.cure.empty()) text += ": " + layer.cure;
  return text;
}

}  // namespace coderunner
