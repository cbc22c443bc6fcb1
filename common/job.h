// Role: the values that cross the border between supervisor and worker, as plain data.
// Callers: request.cc makes a JobSpec, session.cc sends it, run_job.cc obeys it and answers an ExitReport.
// Law: each struct lists its members once more, in `fields`, and nowhere else: that list is its wire format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/limits.h"

namespace coderunner {

inline constexpr std::string_view kScriptName = "script.py";
inline constexpr std::string_view kInputDir = "input";
inline constexpr std::string_view kOutputDir = "output";

// ---- supervisor to worker

enum class SandboxMode : std::uint8_t { kAuto = 0, kStrict = 1, kReduced = 2 };
enum class RunnerMode : std::uint8_t { kWarm = 0, kFresh = 1 };
enum class NetworkMode : std::uint8_t { kNone = 0, kHost = 1 };

// What a worker is told once, before anything else.
struct WorkerSetup {
  std::uint32_t index = 0;  // the slot, 0-based: shown by ps, used in names
  SandboxMode sandbox = SandboxMode::kAuto;
  RunnerMode runner = RunnerMode::kFresh;
  NetworkMode network = NetworkMode::kNone;
  std::uint32_t cores = 1;                   // a job's share, 1 or more: what numeric libraries are told to use
  std::string python;                        // absolute path of the interpreter
  std::vector<std::string> read_only_paths;  // absolute: what the interpreter needs to see, files and directories
  std::string packages;                      // absolute path of a site-packages folder, or empty
  // bootstrap.py as this interpreter compiles it: name and content of a file for __pycache__; or empty.
  std::string bootstrap_name, bootstrap_code;
  std::vector<std::string> preload;          // modules that a warm template imports
  std::vector<std::string> preload_packages;  // what a second template imports besides; or empty: there is none
  std::string temp_dir;                      // absolute: where working directories live at the reduced level
  std::vector<std::string> cgroup_dirs;      // absolute: directories of this worker alone, one a hierarchy; or empty
  Limits limits;
};

// One run. Files follow in frames of their own.
struct JobSpec {
  std::string entry_point{kScriptName};  // relative to the working directory
  std::vector<std::string> args;         // sys.argv[1:]
  std::vector<std::pair<std::string, std::string>> env;
  std::uint64_t timeout_ms = 0;   // 1..limits.max_timeout_s * 1000
  bool nested_artifacts = false;  // files mode: ./output/ with its folders
  bool packages = false;          // it will want WorkerSetup::preload_packages, as far as its text shows
};

struct FileHeader {
  std::string path;        // relative, checked by the supervisor and again by the worker
  std::uint64_t bytes = 0;
  bool read_only = false;  // mode 0400 instead of 0600
};

enum class CancelReason : std::uint8_t { kClientGone = 0, kDrain = 1 };
struct CancelOrder {
  CancelReason reason = CancelReason::kClientGone;  // kDrain ends the job as timed out
};

// ---- worker to supervisor

enum class SandboxLevel : std::uint8_t { kFull = 0, kReduced = 1 };

// One layer of the sandbox and what became of it.
struct LayerState {
  std::string name;    // "namespaces", "files", "network", "syscalls", "memory", "process_limit"
  bool active = false;
  std::string detail;  // by what means, or why not and what would cure it
};
// The detail of "process_limit" where a cgroup counts the job's processes alone; RLIMIT_NPROC counts its user's.
inline constexpr std::string_view kPidsCgroup = "pids cgroup";

// Of one worker since its birth.
struct TemplateCounts {
  std::uint64_t births = 0;  // templates started
  std::uint64_t losses = 0;  // of them: ended without being told to, stopped, or failed to fork
  std::uint64_t forks = 0;   // runners that they forked
  bool operator==(const TemplateCounts&) const = default;
};

struct ReadyReport {
  SandboxLevel level = SandboxLevel::kReduced;
  std::string python;         // "3.11.2"
  std::vector<LayerState> layers;
  std::uint64_t leaks = 0;    // jobs of this worker that left something behind (the worker ends after one)
  bool templates = false;     // it has warm runners, or will once a template is ready
  TemplateCounts counts;
  std::vector<std::uint32_t> template_pids;  // of those that live now
};

enum class Verdict : std::uint8_t {
  kOk = 0, kError = 1, kTimeout = 2, kOutOfMemory = 3, kKilled = 4, kInternalError = 5
};

// The limit that ended a run or cut its answer.
enum class LimitName : std::uint8_t {
  kNone = 0, kTimeout = 1, kMemory = 2, kArtifacts = 3, kScratch = 4, kProcesses = 5
};

struct ExceptionInfo {
  std::string type, message, file;
  std::uint32_t line = 0;
  std::string source;
};

struct ArtifactHeader {
  std::string name;      // relative to ./output/, the file system's bytes
  std::uint64_t bytes = 0;
  std::string skipped;   // empty, or why the contents do not follow: "too large", "symbolic link", …
};

struct ExitReport {
  std::int32_t exit_code = -1;  // the contract's: 0..255, 128+N, 124, 137, -1
  Verdict verdict = Verdict::kInternalError;
  std::uint32_t signal = 0;     // that ended the script, or 0
  LimitName limit = LimitName::kNone;
  std::string reason;           // for -1: what went wrong; one line
  std::optional<ExceptionInfo> exception;
  std::uint64_t stdout_bytes = 0, stderr_bytes = 0;  // written by the script; more than was sent when truncated
  bool artifacts_refused = false;                    // together above the limit: none is sent
  bool warm = false;                                 // the runner was forked from a template
  std::vector<std::string> denied;                   // system calls that the filter refused, by name, sorted
  std::uint64_t setup_us = 0, run_us = 0, collect_us = 0, cpu_us = 0;
  std::uint64_t peak_memory_bytes = 0;  // 0 where the machine can not tell
};

// ---- the members of each, in wire order

template <class A> void fields(A& a, Limits& v) {
  a(v.max_timeout_s, v.default_timeout_s, v.script_bytes, v.files, v.file_bytes, v.files_bytes, v.body_bytes,
    v.memory_bytes, v.processes, v.scratch_bytes, v.scratch_inodes, v.descriptors, v.stdout_bytes, v.stderr_bytes,
    v.artifacts_bytes, v.artifacts);
}
template <class A> void fields(A& a, WorkerSetup& v) {
  a(v.index, v.sandbox, v.runner, v.network, v.cores, v.python, v.read_only_paths, v.packages, v.bootstrap_name,
    v.bootstrap_code, v.preload, v.preload_packages, v.temp_dir, v.cgroup_dirs, v.limits);
}
template <class A> void fields(A& a, JobSpec& v) {
  a(v.entry_point, v.args, v.env, v.timeout_ms, v.nested_artifacts, v.packages);
}
template <class A> void fields(A& a, FileHeader& v) { a(v.path, v.bytes, v.read_only); }
template <class A> void fields(A& a, CancelOrder& v) { a(v.reason); }
template <class A> void fields(A& a, LayerState& v) { a(v.name, v.active, v.detail); }
template <class A> void fields(A& a, TemplateCounts& v) { a(v.births, v.losses, v.forks); }
template <class A> void fields(A& a, ReadyReport& v) {
  a(v.level, v.python, v.layers, v.leaks, v.templates, v.counts, v.template_pids);
}
template <class A> void fields(A& a, ExceptionInfo& v) { a(v.type, v.message, v.file, v.line, v.source); }
template <class A> void fields(A& a, ArtifactHeader& v) { a(v.name, v.bytes, v.skipped); }
template <class A> void fields(A& a, ExitReport& v) {
  a(v.exit_code, v.verdict, v.signal, v.limit, v.reason, v.exception, v.stdout_bytes, v.stderr_bytes,
    v.artifacts_refused, v.warm, v.denied, v.setup_us, v.run_us, v.collect_us, v.cpu_us, v.peak_memory_bytes);
}

// Highest enumerator of each enum on the wire, so that the reader can refuse what lies above.
constexpr std::uint8_t highest(SandboxMode) { return 2; }
constexpr std::uint8_t highest(RunnerMode) { return 1; }
constexpr std::uint8_t highest(NetworkMode) { return 1; }
constexpr std::uint8_t highest(CancelReason) { return 1; }
constexpr std::uint8_t highest(SandboxLevel) { return 1; }
constexpr std::uint8_t highest(Verdict) { return 5; }
constexpr std::uint8_t highest(LimitName) { return 5; }

}  // namespace coderunner
