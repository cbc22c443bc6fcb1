// Role: one worker, every attempt, a table.
// Callers: see check_command.h.
#include "supervisor/check_command.h"

#include <unistd.h>

#include "common/sys.h"
#include "supervisor/launch.h"
#include "supervisor/sandbox_check.h"

namespace coderunner {

namespace {

constexpr Millis kLook{100};

// What the attempts can use up in a moment; everything else is as the operator has it.
Settings with_small_limits(Settings settings) {
  settings.limits.memory_bytes = 64 * kMiB;
  settings.limits.processes = 16;
  settings.limits.scratch_bytes = 4 * kMiB;
  settings.limits.descriptors = 128;
  settings.preload.clear();  // a warm runner is one without imports, too
  return settings;
}

// One worker of this kind of runner.
Result<void> try_with(const Settings& settings, Ground& ground, const Interpreter& python, Trial trial,
                      Findings& findings) {
  ground.program = TRY(find_worker());  // a pool keeps it
  Pool pool(describe_pool(settings, 1, ground, python));
  while (!pool.wait_until_ready(Deadline::in(kLook))) {
    if (const std::string trouble = pool.health().trouble; !trouble.empty())
      return fail(Fault::kSandbox, explain_trouble(trouble, {}));
  }
  return try_sandbox(pool, {ground.temp_dir, settings.network, settings.limits}, trial, findings);
}

Result<SandboxReport> try_everything(Settings settings, std::span<char> title_area) {
  const RunnerMode wanted = settings.runner;
  Ground ground = TRY(lay_ground(settings, 1, title_area));
  for (const std::string& note : ground.notes) complain(note);
  const Interpreter python = TRY(find_python(settings));
  Findings findings;
  settings.runner = RunnerMode::kFresh;
  TRY(try_with(settings, ground, python, Trial::kUseUp, findings));
  settings.runner = wanted;
  // What a warm runner gives up, it gives up by code of its own. Where there are none the worker has said so.
  if (wanted == RunnerMode::kWarm)
    TRY(try_with(settings, ground, python, Trial::kUntilWarm, findings));
  return conclude(findings);
}

}  // namespace

int check_command(const Settings& settings, std::span<char> title_area) {
  const auto report = try_everything(with_small_limits(settings), title_area);
  if (!report) {
    complain(report.error().message);
    return kExitUnusable;
  }
  const std::string text = settings.check_json ? format_sandbox_json(*report) + "\n" : format_sandbox_table(*report);
  return sys::write_all(STDOUT_FILENO, text) ? check_exit_status(*report) : kExitUnusable;
}

}  // namespace coderunner
