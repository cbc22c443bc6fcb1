// Role: the working directory of one job: its layout and its input files.
// Callers: sandbox.cc makes it, main.cc fills it.
// Law: everything goes through the directory's descriptor, one path component at a time, following no symbolic link.
// What the supervisor has checked is checked again: a worker trusts no frame.
#pragma once

#include <string>
#include <string_view>

#include "common/job.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "worker/plan.h"

namespace coderunner {

// Takes a job's files as their frames come: kFile -> begin_file, kFileData -> append, kRun -> complete() must be true.
class Workdir {
 public:
  // `directory`: empty, ours, on the job's tmpfs (full level) or on disk (reduced level).
  Workdir(UniqueFd directory, const Limits& limits) : directory_(std::move(directory)), limits_(limits) {}

  [[nodiscard]] int fd() const { return directory_.get(); }

  // Makes ./input and ./output (0700).
  Result<void> prepare();

  // Creates the file (0600, or 0400 when read-only) and the folders above it (0700); an empty file is complete at once.
  // Errors: kWorkerLost for a path or a size that the supervisor would not have sent, or when the file before is not
  // complete; kClient when two paths contradict each other (a name twice, or a file where another path has a folder);
  // kTooLarge, naming the scratch limit, when there is no room.
  Result<void> begin_file(const FileHeader& header);

  // The next bytes of the file begun last. kWorkerLost when there is none or it has them all.
  Result<void> append(std::string_view bytes);

  // Every file begun has all of its bytes.
  [[nodiscard]] bool complete() const { return missing_ == 0; }

 private:
  // What became of path_, with the cure where there is one: told by the errno that every error of sys.h names.
  [[nodiscard]] Error path_error(const Error& cause) const;

  UniqueFd directory_;
  Limits limits_;
  UniqueFd file_;
  std::string path_;  // of the file begun last, for messages
  Bytes missing_ = 0;
  Bytes promised_ = 0;  // all headers so far
  std::uint64_t files_ = 0;
};

// Whether a job's file may have this path: relative, no empty, hidden or dot segment, no NUL, bounded lengths.
bool is_job_path(std::string_view path);

// The directories of one job where there is no tmpfs of its own.
struct ReducedDirs {
  UniqueFd root;          // JobFolder::path()
  UniqueFd work, tmp;     // in it: the working directory, and what TMPDIR names
  std::string work_path;  // absolute
  std::string tmp_path;
};

// The service's directory, with its permissions given back first: at the reduced level jobs have the service's user,
// and no Landlock keeps them from chmod(2) of what that owns.
Result<UniqueFd> open_temp_dir(const std::string& path);
// Removes what an earlier job left in this folder and makes it anew (all 0700).
Result<ReducedDirs> make_reduced(const JobFolder& folder);
Result<void> remove_reduced(const JobFolder& folder);

}  // namespace coderunner
