// Role: what a job leaves in ./output, as artifacts.
// Callers: run_job.cc, when every process of the job is dead.
// Law: nothing is followed: every name is opened in its own directory with O_NOFOLLOW, looked at before it is opened
// and again after. What is not returned is named with its reason. Time and memory are bounded whatever lies there.
#pragma once

#include <sys/stat.h>

#include <string_view>

#include "common/job.h"
#include "common/result.h"

namespace coderunner {

class ArtifactSink {
 public:
  virtual ~ArtifactSink() = default;
  // A file, or with `skipped` set the reason why its contents do not follow. An error ends the collection.
  virtual Result<void> on_artifact(const ArtifactHeader& header) = 0;
  // 1..kMaxPayload bytes of the file announced last; together exactly its header's `bytes`.
  virtual Result<void> on_data(std::string_view bytes) = 0;
};

struct ArtifactRules {
  bool nested = false;              // files mode: folders too, keyed dir/name
  bool private_filesystem = false;  // the job could link to no file but its own: hard links are harmless
};

struct Collected {
  std::uint64_t files = 0;    // sent
  Bytes bytes = 0;            // of these
  std::uint64_t skipped = 0;  // named with a reason
  bool refused = false;       // above limits.artifacts or limits.artifacts_bytes: no file was sent
};

inline constexpr std::size_t kMaxSkipped = 1000;          // entries named with a reason; more are passed over silently
inline constexpr std::size_t kMaxArtifactDepth = 64;      // folders below ./output
inline constexpr std::size_t kMaxArtifactPath = 4096;     // bytes of dir/name

// Files first, in the order of their names' bytes, then the skipped ones in the same order. At most
// limits.scratch_inodes entries are looked at, the number that a job may have at all.
// When refused, every file counted is among the skipped: "too large" alone, "total too large", or "too many files".
Result<Collected> collect_artifacts(int work_dir, const ArtifactRules& rules, const Limits& limits, ArtifactSink& sink);

// Why an entry of this mode is no artifact: "symbolic link", "fifo", …; empty for a regular file.
std::string_view skip_reason(mode_t mode);

}  // namespace coderunner
