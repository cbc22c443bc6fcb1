// Role: collects ./output. First looks at everything, then decides, then reads. See artifacts.h.
#include "worker/artifacts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/frame.h"
#include "common/sys.h"
#include "common/directory.h"

namespace coderunner {
namespace {

// A regular file that may be returned, as it was when first looked at.
struct Candidate {
  std::string name;
  ino_t inode = 0;
  Bytes bytes = 0;
  bool readable = true;  // false: the script took away its own permission to read it
};

Bytes add_saturating(Bytes a, Bytes b) {
  return b > std::numeric_limits<Bytes>::max() - a ? std::numeric_limits<Bytes>::max() : a + b;
}

// The first look: what is there.
class Survey {
 public:
  Survey(const ArtifactRules& rules, const Limits& limits, dev_t device)
      : rules_(rules), limits_(limits), device_(device), entries_left_(limits.scratch_inodes) {}

  // `prefix` is empty or ends with '/'. Recursion is at most kMaxArtifactDepth deep.
  Result<void> look_at(int directory, const std::string& prefix, std::size_t depth) {
    std::vector<std::string> names = TRY(read_names(directory));
    for (const std::string& name : names) {
      if (too_many()) break;
      TRY(look_at_entry(directory, name, prefix, depth));
    }
    return {};
  }

  void skip(std::string name, std::string_view reason, Bytes bytes = 0) {
    if (skipped.size() >= kMaxSkipped) return;
    name.resize(std::min(name.size(), kMaxArtifactPath));
    skipped.push_back(ArtifactHeader{std::move(name), bytes, std::string(reason)});
  }

  // One above the limit decides; to know the rest would change nothing.
  [[nodiscard]] bool too_many() const { return files.size() > limits_.artifacts; }

  std::vector<Candidate> files;
  std::vector<ArtifactHeader> skipped;
  Bytes total = 0;

 private:
  Result<std::vector<std::string>> read_names(int directory) {
    std::vector<std::string> names;
    DirectoryReader reader(directory);
    while (const auto entry = TRY(reader.next())) {
      if (entries_left_ == 0) {
        if (!cut_short_) skip(std::string(kOutputDir), "too many entries");
        cut_short_ = true;
        break;
      }
      --entries_left_;
      names.emplace_back(entry->name);
    }
    std::ranges::sort(names);  // char_traits<char> compares bytes as unsigned
    return names;
  }

  Result<void> look_at_entry(int directory, const std::string& name, const std::string& prefix, std::size_t depth) {
    const std::optional<struct stat> found = TRY(stat_entry(directory, name));
    if (!found) return {};
    const std::string key = prefix + name;
    const bool regular = S_ISREG(found->st_mode);
    const Bytes bytes = regular ? static_cast<Bytes>(found->st_size) : 0;
    if (const std::string_view reason = reason_to_skip(key, *found, depth); !reason.empty()) {
      skip(key, reason, bytes);
    } else if (regular) {
      files.push_back(Candidate{key, found->st_ino, bytes, (found->st_mode & S_IRUSR) != 0});
      total = add_saturating(total, bytes);
    } else {
      const Result<std::optional<UniqueFd>> below = reclaim_directory(directory, name);
      if (below && *below) return look_at((*below)->get(), key + "/", depth + 1);
      skip(key, "can not be opened");
    }
    return {};
  }

  // Empty for what is wanted: a regular file of ours, or a folder to go into.
  [[nodiscard]] std::string_view reason_to_skip(const std::string& key, const struct stat& found,
                                                std::size_t depth) const {
    if (key.size() > kMaxArtifactPath) return "path too long";
    if (found.st_dev != device_) return "other file system";
    if (S_ISDIR(found.st_mode) && rules_.nested) return depth == kMaxArtifactDepth ? "too deep" : "";
    if (!S_ISREG(found.st_mode)) return skip_reason(found.st_mode);
    if (found.st_uid != ::geteuid()) return "other owner";
    if (found.st_nlink > 1 && !rules_.private_filesystem) return "hard link";
    return "";
  }

  const ArtifactRules& rules_;
  const Limits& limits_;
  dev_t device_;
  std::uint64_t entries_left_;
  bool cut_short_ = false;
};

// Opens `name` below `directory` one component at a time; nullopt when it can not be opened or is another file by now.
Result<std::optional<UniqueFd>> open_candidate(int directory, const Candidate& file) {
  UniqueFd folder;
  std::string_view rest = file.name;
  for (std::size_t slash = rest.find('/'); slash != rest.npos; slash = rest.find('/')) {
    std::optional<UniqueFd> below =
        TRY(open_directory(folder.valid() ? folder.get() : directory, std::string(rest.substr(0, slash))));
    if (!below) return std::nullopt;
    folder = *std::move(below);
    rest.remove_prefix(slash + 1);
  }
  const int parent = folder.valid() ? folder.get() : directory;
  const std::string name(rest);
  // By name, as reclaim_directory does, and for the same reason safe: the survey saw a regular file of ours, and nobody
  // is left who could exchange it.
  if (!file.readable && ::fchmodat(parent, name.c_str(), 0600, 0) != 0) return std::nullopt;
  Result<UniqueFd> opened = sys::open_at(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!opened) return std::nullopt;
  const struct stat now = TRY(stat_open(opened->get()));
  if (!S_ISREG(now.st_mode) || now.st_ino != file.inode || static_cast<Bytes>(now.st_size) != file.bytes)
    return std::nullopt;
  return *std::move(opened);
}

Result<void> send_contents(int fd, const Candidate& file, ArtifactSink& sink) {
  const auto buffer = std::make_unique<std::array<char, kMaxPayload>>();
  for (Bytes left = file.bytes; left > 0;) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<Bytes>(left, kMaxPayload));
    const std::optional<std::size_t> got = TRY(sys::read_some(fd, std::span(buffer->data(), wanted)));
    // The header is out already, and padding would be a lie.
    if (got.value_or(0) == 0)
      return fail(Fault::kInternal, fmt::format("artifact {}: shorter than it was", quoted_name(file.name)));
    TRY(sink.on_data(std::string_view(buffer->data(), *got)));
    left -= *got;
  }
  return {};
}

void refuse_all(Survey& survey, const Limits& limits) {
  for (const Candidate& file : survey.files) {
    const bool alone = file.bytes > limits.artifacts_bytes;
    survey.skip(file.name, alone ? "too large" : survey.too_many() ? "too many files" : "total too large", file.bytes);
  }
  survey.files.clear();
}

// ./output, or nullopt with the reason (empty when it is simply not there).
Result<std::optional<UniqueFd>> open_output(int work_dir, std::string_view& reason) {
  const std::string name(kOutputDir);
  TRY(reclaim_open(work_dir));
  const std::optional<struct stat> found = TRY(stat_entry(work_dir, name));
  if (!found) return std::nullopt;
  if (!S_ISDIR(found->st_mode)) {
    reason = S_ISREG(found->st_mode) ? "not a directory" : skip_reason(found->st_mode);
    return std::nullopt;
  }
  reason = "can not be opened";
  const Result<struct stat> work = stat_open(work_dir);
  if (!work || work->st_dev != found->st_dev) return std::nullopt;
  Result<std::optional<UniqueFd>> output = reclaim_directory(work_dir, name);
  if (!output) return std::nullopt;
  return *std::move(output);
}

}  // namespace

std::string_view skip_reason(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "";
    case S_IFLNK: return "symbolic link";
    case S_IFDIR: return "directory";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    case S_IFCHR:
    case S_IFBLK: return "device";
    default: return "not a regular file";
  }
}

Result<Collected> collect_artifacts(int work_dir, const ArtifactRules& rules, const Limits& limits,
                                    ArtifactSink& sink) {
  Collected result;
  std::string_view reason;
  const std::optional<UniqueFd> output = TRY(open_output(work_dir, reason));
  if (!output) {
    if (reason.empty()) return result;
    result.skipped = 1;
    TRY(sink.on_artifact(ArtifactHeader{std::string(kOutputDir), 0, std::string(reason)}));
    return result;
  }
  Survey survey(rules, limits, TRY(stat_open(output->get())).st_dev);
  TRY(survey.look_at(output->get(), "", 0));
  result.refused = survey.too_many() || survey.total > limits.artifacts_bytes;
  if (result.refused) refuse_all(survey, limits);

  std::ranges::sort(survey.files, {}, &Candidate::name);
  for (const Candidate& file : survey.files) {
    const std::optional<UniqueFd> opened = TRY(open_candidate(output->get(), file));
    if (!opened) {
      survey.skip(file.name, "can not be opened", file.bytes);
      continue;
    }
    TRY(sink.on_artifact(ArtifactHeader{file.name, file.bytes, {}}));
    TRY(send_contents(opened->get(), file, sink));
    ++result.files;
    result.bytes += file.bytes;
  }
  std::ranges::sort(survey.skipped, {}, &ArtifactHeader::name);
  for (const ArtifactHeader& header : survey.skipped) TRY(sink.on_artifact(header));
  result.skipped = survey.skipped.size();
  return result;
}

}  // namespace coderunner
