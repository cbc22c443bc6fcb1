// Role: the working directory of one job. See workdir.h.
#include "worker/workdir.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "common/sys.h"
#include "common/directory.h"
#include "common/file_tree.h"

namespace coderunner {
namespace {

constexpr mode_t kPrivateDir = 0700;

// `name` in `parent`, made (0700) unless it is there. nullopt: there, but not a directory.
Result<std::optional<UniqueFd>> enter_directory(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), kPrivateDir) != 0 && sys::last_errno() != EEXIST)
    return std::unexpected(sys::last_error("mkdirat"));
  return open_directory(parent, name);
}

// `name` in `parent`, which must not be there yet.
Result<UniqueFd> make_directory(int parent, const std::string& name) {
  if (::mkdirat(parent, name.c_str(), kPrivateDir) != 0)
    return std::unexpected(sys::last_error(fmt::format("mkdirat({})", quoted_name(name))));
  std::optional<UniqueFd> made = TRY(open_directory(parent, name));
  if (!made) return fail(Fault::kInternal, fmt::format("{} was replaced while it was made", quoted_name(name)));
  return *std::move(made);
}

// The worker's folder, made unless it is there, with its permissions given back first: no Landlock keeps a job from
// changing those of what its user owns.
Result<UniqueFd> open_worker_folder(const JobFolder& folder) {
  const UniqueFd parent = TRY(open_temp_dir(folder.temp_dir));
  const std::string name = fmt::format("worker-{}", folder.index);
  const UniqueFd there(::openat(parent.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!there.valid()) {
    TRY(remove_tree(parent.get(), name));
    return make_directory(parent.get(), name);
  }
  // chmod(2) by way of /proc follows no link in the folder's place; fchmodat(2) of Linux before 6.6 can not refuse to.
  TRY(sys::retry("chmod(worker's folder)", [&] {
    return ::chmod(fmt::format("/proc/self/fd/{}", there.get()).c_str(), kPrivateDir);
  }));
  return sys::open_at(there.get(), ".", O_RDONLY | O_DIRECTORY);
}

}  // namespace

bool is_job_path(std::string_view path) {
  // "input/" is the longest prefix that the supervisor adds to a client's path.
  if (path.empty() || path.size() > kMaxPathBytes + kInputDir.size() + 1) return false;
  if (path.find('\0') != path.npos) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    // A leading dot covers ".", ".." and hidden names; an empty segment an absolute path and a trailing slash.
    if (segment.empty() || segment.front() == '.' || segment.size() > kMaxNameBytes) return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<void> Workdir::prepare() {
  for (const std::string_view name : {kInputDir, kOutputDir}) TRY(make_directory(fd(), std::string(name)));
  return {};
}

Result<void> Workdir::begin_file(const FileHeader& header) {
  if (!complete()) return fail(Fault::kWorkerLost, fmt::format("a file before {} is complete", quoted_name(path_)));
  if (!is_job_path(header.path))
    return fail(Fault::kWorkerLost, fmt::format("not a path for a job's file: {}", quoted_name(header.path)));
  // One script beside the files of the request; neither sum can overflow after the first comparison.
  const bool fits = header.bytes <= std::max(limits_.file_bytes, limits_.script_bytes) &&
                    promised_ + header.bytes <= limits_.files_bytes + limits_.script_bytes &&
                    files_ < limits_.files + 1;
  if (!fits) return fail(Fault::kWorkerLost, fmt::format("{}: above the limits of a job", quoted_name(header.path)));

  path_ = header.path;
  std::string_view rest = header.path;
  UniqueFd folder;
  for (std::size_t slash = rest.find('/'); slash != rest.npos; slash = rest.find('/')) {
    const int parent = folder.valid() ? folder.get() : fd();
    Result<std::optional<UniqueFd>> below = enter_directory(parent, std::string(rest.substr(0, slash)));
    if (!below) return std::unexpected(path_error(below.error()));
    if (!*below) return fail(Fault::kClient, fmt::format("{}: a folder above it is a file", quoted_name(path_)));
    folder = **std::move(below);
    rest.remove_prefix(slash + 1);
  }
  const int parent = folder.valid() ? folder.get() : fd();
  auto file = sys::open_at(parent, std::string(rest), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                           header.read_only ? 0400 : 0600);
  if (!file) return std::unexpected(path_error(file.error()));
  ++files_;
  promised_ += header.bytes;
  missing_ = header.bytes;
  if (missing_ > 0) file_ = *std::move(file);
  return {};
}

Result<void> Workdir::append(std::string_view bytes) {
  if (bytes.empty() || bytes.size() > missing_)
    return fail(Fault::kWorkerLost, "file data that no file header has announced");
  const Result<void> written = sys::write_all(file_.get(), bytes);
  if (!written) return std::unexpected(path_error(written.error()));
  missing_ -= bytes.size();
  if (missing_ == 0) file_.reset();
  return {};
}

Error Workdir::path_error(const Error& cause) const {
  const std::string name = quoted_name(path_);
  if (cause.message.ends_with("EEXIST"))
    return Error{Fault::kClient, fmt::format("{}: the name is taken already", name)};
  if (cause.message.ends_with("ENOSPC") || cause.message.ends_with("EDQUOT")) {
    return Error{Fault::kTooLarge,
                 fmt::format("{}: no room: scratch space is limited to {} bytes and {} inodes (--scratch)", name,
                             limits_.scratch_bytes, limits_.scratch_inodes)};
  }
  return Error{cause.fault, fmt::format("{}: {}", name, cause.message)};
}

Result<UniqueFd> open_temp_dir(const std::string& path) {
  TRY(sys::retry("chmod(temporary directory)", [&] { return ::chmod(path.c_str(), kPrivateDir); }));
  return sys::open(path, O_RDONLY | O_DIRECTORY);
}

namespace {

Result<ReducedDirs> make_dirs(int parent, const JobFolder& folder) {
  ReducedDirs dirs;
  dirs.root = TRY(make_directory(parent, folder.name));
  dirs.work = TRY(make_directory(dirs.root.get(), "work"));
  dirs.tmp = TRY(make_directory(dirs.root.get(), "tmp"));
  dirs.work_path = folder.path() + "/work";
  dirs.tmp_path = folder.path() + "/tmp";
  return dirs;
}

}  // namespace

Result<ReducedDirs> make_reduced(const JobFolder& folder) {
  const UniqueFd parent = TRY(open_worker_folder(folder));
  TRY(remove_tree(parent.get(), folder.name));
  auto dirs = make_dirs(parent.get(), folder);
  if (!dirs) (void)remove_tree(parent.get(), folder.name);  // or each attempt on a full disk would leave it fuller
  return dirs;
}

Result<void> remove_reduced(const JobFolder& folder) {
  return remove_tree(TRY(open_worker_folder(folder)).get(), folder.name);
}

}  // namespace coderunner
