// Role: sums /proc/PID/status and /proc/PID/smaps_rollup over a tree. See memory_watch.h.
#include "worker/memory_watch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

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

}  // namespace

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
    if (process.ended() || std::ranges::find(except, process.pid) != except.end()) continue;
    const pid_t holder = memory_holder(proc, process);
    sum += count == MemoryCount::kExact ? exact(proc, holder) : upper_bound(proc, holder);
  }
  return sum;
}

Result<bool> MemoryWatch::over_limit(pid_t root, std::span<const pid_t> except) {
  const Bytes bound = TRY(tree_memory(proc_, root, except, MemoryCount::kUpperBound));
  if (bound <= limit_) {
    peak_ = std::max(peak_, bound);
    return false;
  }
  const Clock::time_point start = Clock::now();
  if (start < next_exact_) return false;
  const Bytes exact = TRY(tree_memory(proc_, root, except, MemoryCount::kExact));
  next_exact_ = Clock::now() + 4 * (Clock::now() - start);
  peak_ = std::max(peak_, exact);
  return exact > limit_;
}

}  // namespace coderunner
