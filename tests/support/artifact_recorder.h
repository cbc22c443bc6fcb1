// Role: an ArtifactSink that remembers, for tests of what is collected.
// Callers: artifacts_test.cc, artifacts_limits_test.cc.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "common/frame.h"
#include "tests/support/scratch_dir.h"
#include "worker/artifacts.h"

namespace coderunner::test {

// Keeps what it is given and checks the order of it.
class Recorder : public ArtifactSink {
 public:
  Result<void> on_artifact(const ArtifactHeader& header) override {
    if (missing_ > 0) faults.push_back("a header before the last file was complete");
    headers.push_back(header);
    if (header.skipped.empty()) {
      files[header.name];
      missing_ = header.bytes;
    } else {
      skipped[header.name] = header.skipped;
    }
    return answer();
  }
  Result<void> on_data(std::string_view bytes) override {
    if (bytes.empty() || bytes.size() > std::min<Bytes>(kMaxPayload, missing_))
      faults.push_back("a piece of wrong size");
    missing_ -= std::min<Bytes>(missing_, bytes.size());
    files[headers.back().name] += bytes;
    return answer();
  }

  std::vector<ArtifactHeader> headers;
  std::map<std::string, std::string> files, skipped;
  std::vector<std::string> faults;
  int calls_left = -1;  // then the peer is gone; -1: never

 private:
  Result<void> answer() {
    if (calls_left == 0) return fail(Fault::kWorkerLost, "peer gone");
    if (calls_left > 0) --calls_left;
    return {};
  }
  Bytes missing_ = 0;
};

inline constexpr ArtifactRules kTop{.nested = false, .private_filesystem = true};
inline constexpr ArtifactRules kNested{.nested = true, .private_filesystem = true};
inline constexpr ArtifactRules kOnDisk{.nested = false, .private_filesystem = false};

// Collects and checks what holds for every collection.
inline Collected collect(const ScratchDir& dir, const ArtifactRules& rules, const Limits& limits, Recorder& sink) {
  const auto collected = collect_artifacts(dir.fd(), rules, limits, sink);
  REQUIRE(collected);
  CHECK(sink.faults.empty());
  CHECK(collected->files == sink.files.size());
  CHECK(collected->skipped == sink.headers.size() - sink.files.size());
  Bytes bytes = 0;
  for (const auto& [name, content] : sink.files) bytes += content.size();
  CHECK(collected->bytes == bytes);
  return *collected;
}

}  // namespace coderunner::test
