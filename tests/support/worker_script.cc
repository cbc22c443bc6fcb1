// Role: see worker_script.h.
#include "tests/support/worker_script.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace coderunner::test {

WorkerScript::WorkerScript(const std::string& instructions) : dir_("/tmp/coderunner-pool-test-XXXXXX") {
  if (::mkdtemp(dir_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  rewrite(instructions);
}

WorkerScript::~WorkerScript() { std::filesystem::remove_all(dir_); }

void WorkerScript::rewrite(const std::string& instructions) {
  std::string text = instructions;
  for (std::size_t at = text.find("@/"); at != text.npos; at = text.find("@/", at)) {
    text.replace(at, 2, dir_ + "/");
  }
  std::ofstream(path("script.new")) << text;
  std::filesystem::rename(path("script.new"), path("script"));
}

WorkerSetup WorkerScript::setup() const {
  WorkerSetup setup;
  setup.python = path("script");
  setup.temp_dir = dir_;
  return setup;
}

PoolConfig WorkerScript::config(std::size_t workers) const {
  PoolConfig config;
  config.workers = workers;
  config.program = test_worker_program();
  config.setup = setup();
  config.timings.first_pause = Millis{1};
  config.timings.longest_pause = Millis{4};
  return config;
}

WorkerProgram test_worker_program() {
  return open_worker(std::filesystem::read_symlink("/proc/self/exe").parent_path() / "test_worker").value();
}

bool eventually(const std::function<bool()>& condition) {
  const Deadline deadline = Deadline::in(Millis{20'000});
  while (!condition()) {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(Millis{1});
  }
  return true;
}

void RecordingSink::on_artifact(const ArtifactHeader& header) {
  note("artifact", fmt::format("{} {}{}", header.name, header.bytes, header.skipped));
}

void RecordingSink::note(std::string_view what, std::string_view bytes) {
  events.push_back(fmt::format("{}:{}", what, bytes));
  if (on_event) on_event();
}

RunRequest simple_request() {
  RunRequest request;
  request.job.timeout_ms = 60'000;
  request.files.push_back({"script.py", "print(1)", false});
  return request;
}

}  // namespace coderunner::test
