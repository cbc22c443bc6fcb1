// Role: files -> request -> session -> files.
// Callers: see run_command.h.
#include "supervisor/run_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>

#include "common/sys.h"
#include "common/text.h"
#include "supervisor/artifact_writer.h"
#include "supervisor/dispatch.h"
#include "supervisor/launch.h"
#include "supervisor/output_text.h"
#include "supervisor/rules.h"
#include "supervisor/signals.h"

namespace coderunner {

namespace {

constexpr Millis kSignalLook{100};

std::unexpected<Error> refuse_usage(std::string message) { return fail(Fault::kClient, std::move(message)); }

Result<std::string> read_input(const std::string& path, Bytes limit) {
  auto content = sys::read_file(path, limit);
  if (!content) return refuse_usage(content.error().message);
  return content;
}

Result<void> check_arguments(const std::vector<std::string>& arguments) {
  Bytes bytes = 0;
  for (const std::string& argument : arguments) bytes += argument.size();
  if (arguments.size() > kMaxArgs || bytes > kMaxArgsBytes) {
    return refuse_usage(fmt::format("at most {} arguments of {} bytes together", kMaxArgs, kMaxArgsBytes));
  }
  return {};
}

// Standard input, unless it is a terminal: a script that asks a person is not what a sandbox is for.
Result<std::string> read_stdin(Bytes limit) {
  if (::isatty(STDIN_FILENO) == 1) return std::string();
  auto bytes = sys::read_all(STDIN_FILENO, limit);
  if (!bytes) return refuse_usage("standard input: " + bytes.error().message);
  return bytes;
}

// Output goes through as it comes; artifacts go to their writer.
class CommandSink : public JobSink {
 public:
  CommandSink(std::optional<ArtifactWriter>& writer, std::atomic<bool>& stop) : writer_(writer), stop_(stop) {}

  void on_stdout(std::string_view bytes) override { pass(STDOUT_FILENO, bytes); }
  void on_stderr(std::string_view bytes) override { pass(STDERR_FILENO, bytes); }
  void on_artifact(const ArtifactHeader& header) override {
    writing_ = header.skipped.empty() && writer_.has_value() && !writer_failed_;
    if (!header.skipped.empty()) {
      complain(fmt::format("artifact {}: {}", json_quote(decode_utf8_replace(header.name)), header.skipped));
    } else if (writing_) {
      note_writer(writer_->announce(header));
    }
  }
  void on_artifact_data(std::string_view bytes) override {
    if (writing_) note_writer(writer_->write(bytes));
  }

 private:
  // Whoever read our output has gone, as in `coderunner run x.py | head`: the job has no purpose any more.
  void pass(int fd, std::string_view bytes) {
    if (!sys::write_all(fd, bytes)) stop_ = true;
  }
  // The writer itself says what is wrong; finish() makes it the command's failure.
  void note_writer(const Result<void>& result) {
    if (!result) writing_ = false, writer_failed_ = true;
  }

  std::optional<ArtifactWriter>& writer_;
  std::atomic<bool>& stop_;
  bool writing_ = false, writer_failed_ = false;
};

// What a client would find at the end of `stderr`, and in `error`.
void print_notes(const ExitReport& report, const Limits& limits) {
  std::string notes = format_notes(report, limits);
  if (report.artifacts_refused) notes += "\n" + format_artifacts_refusal(limits);
  if (!notes.empty()) static_cast<void>(sys::write_all(STDERR_FILENO, notes + "\n"));
}

struct Command {
  const Settings& settings;
  const RunRequest& request;
  const SignalWatch& signals;
  std::optional<ArtifactWriter>& writer;
};

Result<int> run_job(const Command& command, Pool& pool) {
  std::atomic<bool> stop = false;
  std::atomic<int> signal = 0;
  // The first signal ends the job, the second the command.
  Pipe end = TRY(sys::make_pipe());
  const std::jthread watcher([&](const std::stop_token& done) {
    const std::stop_callback wake(done, [&] { end.write.reset(); });
    const auto came = command.signals.wait(Deadline::never(), end.read.get());
    if (!came || !*came) return;
    signal = **came;
    stop = true;
    command.signals.exit_at_next();
  });
  while (!stop && !pool.wait_until_ready(Deadline::in(kSignalLook))) {
    if (const std::string trouble = pool.health().trouble; !trouble.empty()) return fail(Fault::kSandbox, trouble);
  }
  if (stop) return 128 + signal;

  CommandSink sink(command.writer, stop);
  const SessionWatch watch{.client_fd = -1, .drain_now = &stop};
  const ExitReport report = TRY(dispatch_job(pool, 0, command.request, sink, watch).report);
  if (signal != 0) return 128 + signal;
  print_notes(report, command.settings.limits);
  if (command.writer) TRY(command.writer->finish());
  if (report.artifacts_refused || report.exit_code < 0) return kExitInternal;
  return report.exit_code;
}

Result<int> run(const Settings& settings, std::span<char> title_area) {
  const SignalWatch signals = TRY(SignalWatch::make());
  // With the rights of whoever typed the command: reading what it names, and making the directory it names.
  const RunRequest request = TRY(make_command_request(settings, TRY(read_stdin(settings.limits.file_bytes))));
  std::optional<ArtifactWriter> writer;
  if (!settings.run_output.empty()) writer.emplace(TRY(ArtifactWriter::start(settings.run_output)));

  Ground ground = TRY(lay_ground(settings, 1, title_area));
  const Interpreter python = TRY(find_python(settings));
  PoolConfig config = describe_pool(settings, 1, ground, python);
  if (writer) config.other_children.push_back(&writer->child());
  Pool pool(std::move(config));
  return run_job({settings, request, signals, writer}, pool);
}

}  // namespace

Result<RunRequest> make_command_request(const Settings& settings, std::string stdin_bytes) {
  const Limits& limits = settings.limits;
  RunRequest request;
  request.job.args = settings.run_args;
  request.job.timeout_ms = std::min(limits.default_timeout_s, limits.max_timeout_s) * 1000;
  request.stdin_bytes = std::move(stdin_bytes);
  request.context_files = settings.run_inputs.size();
  TRY(check_arguments(settings.run_args));
  std::string script = TRY(read_input(settings.run_script, limits.script_bytes));
  request.files.push_back({std::string(kScriptName), std::move(script), false});
  if (!is_utf8(request.files[0].content)) return refuse_usage(fmt::format("{}: not UTF-8", settings.run_script));

  if (settings.run_inputs.size() > limits.files) {
    return refuse_usage(fmt::format("--input: at most {} files", limits.files));
  }
  Bytes total = 0;
  for (const std::string& path : settings.run_inputs) {
    const std::string name = std::filesystem::path(path).filename();
    if (auto checked = check_context_name(name); !checked) {
      return refuse_usage(fmt::format("--input {}: {}", path, checked.error().message));
    }
    const std::string target = fmt::format("{}/{}", kInputDir, name);
    if (std::ranges::find(request.files, target, &InputFile::path) != request.files.end()) {
      return refuse_usage(fmt::format("--input {}: another input has the same name", path));
    }
    std::string content = TRY(read_input(path, limits.file_bytes));
    total += content.size();
    request.files.push_back({target, std::move(content), true});
    if (total > limits.files_bytes) {
      return refuse_usage(fmt::format("--input: more than {} bytes together", limits.files_bytes));
    }
  }
  return request;
}

int run_command(const Settings& settings, std::span<char> title_area) {
  const Result<int> status = run(settings, title_area);
  if (status) return *status;
  complain(status.error().message);
  return status.error().fault == Fault::kClient ? kExitUsage : kExitInternal;
}

}  // namespace coderunner
