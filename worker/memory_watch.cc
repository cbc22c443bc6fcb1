// Role: sums /proc/PID/status and /proc/PID/smaps_rollup over a tree. See memory_watch.h.
#include "worker/memory_watch.h"

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "common/sys.h"

namespace coderunner {
namespace {

// status: 1.5 KB, more with many supplementary groups; smaps_rollup: 700 bytes.
using Buffer = std::array<char, 8 * 1024>;

// Whom to ask about the memory of a process: its leader, or when that one has ended before its threads (and has let go
// of the memory that they still share) the first thread that has not.
pid_t memory_holder(const ProcDir& proc, const ProcessInfo& process) {
  if (process.state != 'Z') return process.pid;
  for (const pid_t thread : proc.threads(process.pid))
    if (const auto info = proc.look_up(thread); info && info->state != 'Z') return thread;
  return process.pid;
}

Bytes upper_bound(const ProcDir& proc, pid_t pid) {
  Buffer buffer;
  const auto text = proc.read(pid, "status", buffer);
  if (!text) return 0;  // ended since
  return parse_kilobytes(*text, "RssAnon:") + parse_kilobytes(*text, "RssShmem:") + parse_kilobytes(*text, "VmSwap:");
}

Bytes exact(const ProcDir& proc, pid_t pid) {
  Buffer buffer;
  const auto text = proc.read(pid, "smaps_rollup", buffer);
  if (!text || text->find("\nPss_Anon:") == text->npos) return upper_bound(proc, pid);
  return parse_kilobytes(*text, "Pss_Anon:") + parse_kilobytes(*text, "Pss_Shmem:") +
         parse_kilobytes(*text, "SwapPss:");
}

// 700 bytes a mapping: room for 6,000 of them. A process with more counts some of them twice.
constexpr std::size_t kMappingsText = 4 * kMiB;

// The end of the mapping that begins at `at`: its lines begin with a capital letter, the next one's with its address.
std::size_t mapping_end(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const std::size_t line = text.find('\n', at);
    if (line == text.npos) return text.size();
    at = line + 1;
    if (at < text.size() && (text[at] < 'A' || text[at] > 'Z')) break;
  }
  return at;
}

// Of private mappings the pages that the process has written are its own, not the file's.
Bytes file_pages(std::string_view mapping) {
  const Bytes all = parse_kilobytes(mapping, "Pss:");
  return all - std::min(all, parse_kilobytes(mapping, "Anonymous:"));
}

Bytes used_bytes(int tmpfs) {
  struct statfs info{};
  if (tmpfs == -1 || ::fstatfs(tmpfs, &info) != 0) return 0;
  return (info.f_blocks - info.f_bfree) * static_cast<Bytes>(info.f_bsize);
}

}  // namespace

Bytes parse_mapped_from(std::string_view smaps, dev_t device) {
  const std::string word = fmt::format(" {:02x}:{:02x} ", major(device), minor(device));
  Bytes sum = 0;
  for (std::size_t at = 0; at < smaps.size();) {
    const std::size_t end = mapping_end(smaps, at);
    const std::string_view mapping = smaps.substr(at, end - at);
    // Before the file's name, which may hold anything.
    const std::string_view head = mapping.substr(0, std::min(mapping.find('\n'), mapping.find('/')));
    if (head.find(word) != head.npos) sum += file_pages(mapping);
    at = end;
  }
  return sum;
}

Bytes parse_kilobytes(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    text.remove_prefix(at + key.size());
    text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
    Bytes kilobytes = 0;
    std::from_chars(text.data(), text.data() + text.size(), kilobytes);
    return kilobytes * kKiB;
  }
  return 0;
}

Result<Bytes> tree_memory(const ProcDir& proc, pid_t root, std::span<const pid_t> except, MemoryCount count) {
  Bytes sum = 0;
  for (const ProcessInfo& process : TRY(descendants(proc, root))) {
    if (process.ended() || belongs_to(process, except)) continue;
    const pid_t holder = memory_holder(proc, process);
    sum += count == MemoryCount::kExact ? exact(proc, holder) : upper_bound(proc, holder);
  }
  return sum;
}

Result<Bytes> tree_memory_of_device(const ProcDir& proc, pid_t root, std::span<const pid_t> except, dev_t device) {
  std::vector<char> buffer(kMappingsText);
  Bytes sum = 0;
  for (const ProcessInfo& process : TRY(descendants(proc, root))) {
    if (process.ended() || belongs_to(process, except)) continue;
    const auto text = proc.read(memory_holder(proc, process), "smaps", buffer);
    if (text) sum += parse_mapped_from(*text, device);
  }
  return sum;
}

// How much of the files is mapped takes longest to find out, and is asked for only where it decides: before and after
// everything else, so that a job which maps or unmaps meanwhile is never taken to hold more than it does.
Result<Bytes> MemoryWatch::count_exactly(pid_t root, std::span<const pid_t> except) const {
  const Bytes processes = TRY(tree_memory(proc_, root, except, MemoryCount::kExact));
  struct stat info{};
  if (processes > limit_ || processes + used_bytes(tmpfs_) <= limit_ || ::fstat(tmpfs_, &info) != 0)
    return processes + used_bytes(tmpfs_);
  const Bytes before = TRY(tree_memory_of_device(proc_, root, except, info.st_dev));
  const Bytes sum = used_bytes(tmpfs_) + TRY(tree_memory(proc_, root, except, MemoryCount::kExact));
  const Bytes after = TRY(tree_memory_of_device(proc_, root, except, info.st_dev));
  return sum - std::min(sum, std::max(before, after));
}

Result<bool> MemoryWatch::over_limit(pid_t root, std::span<const pid_t> except) {
  const Bytes bound = used_bytes(tmpfs_) + TRY(tree_memory(proc_, root, except, MemoryCount::kUpperBound));
  if (bound <= limit_) {
    peak_ = std::max(peak_, bound);
    return false;
  }
  const Clock::time_point start = Clock::now();
  if (start < next_exact_) return false;
  const Bytes exact = TRY(count_exactly(root, except));
  next_exact_ = Clock::now() + 4 * (Clock::now() - start);
  peak_ = std::max(peak_, exact);
  return exact > limit_;
}

}  // namespace coderunner
