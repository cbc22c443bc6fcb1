// Role: a pool whose workers are test_worker with instructions of the test's own.
// Callers: tests of pool.h, session.h and birth.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "supervisor/pool.h"
#include "supervisor/session.h"

namespace coderunner::test {

// Instructions in a file, and what a pool needs to follow them.
class WorkerScript {
 public:
  explicit WorkerScript(const std::string& instructions);  // "@/" stands for the directory of this script
  ~WorkerScript();
  WorkerScript(const WorkerScript&) = delete;
  WorkerScript& operator=(const WorkerScript&) = delete;
  void rewrite(const std::string& instructions);           // for workers born from now on
  [[nodiscard]] std::string path(const std::string& name) const { return dir_ + "/" + name; }
  [[nodiscard]] const std::string& dir() const { return dir_; }
  [[nodiscard]] WorkerSetup setup() const;
  // One worker, pauses of milliseconds after failed births.
  [[nodiscard]] PoolConfig config(std::size_t workers = 1) const;

 private:
  std::string dir_;
};

// The program itself, built beside the tests.
WorkerProgram test_worker_program();

// Waits for a state that another thread or process brings about; false after 20 s, when the test fails.
bool eventually(const std::function<bool()>& condition);

// Keeps everything, in words: "out:…", "err:…", "artifact:name bytes", "data:…".
class RecordingSink : public JobSink {
 public:
  void on_stdout(std::string_view bytes) override { out += bytes; note("out", bytes); }
  void on_stderr(std::string_view bytes) override { note("err", bytes); }
  void on_artifact(const ArtifactHeader& header) override;
  void on_artifact_data(std::string_view bytes) override { note("data", bytes); }

  std::string out;
  std::vector<std::string> events;
  std::function<void()> on_event;  // called after each one

 private:
  void note(std::string_view what, std::string_view bytes);
};

RunRequest simple_request();

}  // namespace coderunner::test
