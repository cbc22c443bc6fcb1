// Role: what the pool knows: the slots, their states, who waits.
// Callers: pool.cc (the callers' side) and pool_thread.cc (the thread that moves the slots on), nobody else.
// Law: every slot is touched under the lock only; births, reaping and removals happen on the one thread and without
// the lock, so that borrowing never waits for the kernel. A socket is in the epoll set while the pool holds it, and
// leaves it while a lease does.
//
//   kUnborn -> kStarting -> kReady -> kBusy -> kResetting -> kReady …
//   any of them -> kDying (condemned: killed, not dead yet) -> kUnborn
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "supervisor/back_off.h"
#include "supervisor/pool.h"
#include "supervisor/queue.h"

namespace coderunner {

enum class SlotState : std::uint8_t { kUnborn, kStarting, kReady, kBusy, kResetting, kDying };

struct Slot {
  SlotState state = SlotState::kUnborn;
  std::uint64_t generation = 0;
  bool was_ready = false;            // since its birth
  std::uint64_t ready_serial = 0;    // the higher, the later it became ready
  Deadline due = Deadline::never();  // for its Ready, while starting and resetting
  Clock::time_point lent{};          // while busy
  bool packages = true;              // the last job's, to which the worker keeps (Templates); at first it
                                     // has all it can
  std::string trouble;               // why it was condemned, or its own last words
  TemplateCounts counts;             // that it told of last
  std::vector<std::uint32_t> template_pids;
  bool littered = false;             // what its last worker left could not be cleared away yet
  Child child;
  Channel channel;  // not while busy
};

// What an epoll event is about. The generation makes news of a dead worker recognisable.
enum class Source : std::uint64_t { kCommand = 0, kSocket = 1, kDeath = 2 };
constexpr std::uint64_t make_tag(Source source, std::size_t slot, std::uint64_t generation) {
  return static_cast<std::uint64_t>(source) << 62 | static_cast<std::uint64_t>(slot) << 44 |
         (generation & ((std::uint64_t{1} << 44) - 1));
}

struct Pool::State {
  State(Pool& owner, PoolConfig given);
  ~State();

  // On the pool's thread, without the lock.
  void run();
  void give_births();
  void bear(std::size_t index);
  void condemn_overdue();
  void on_death(std::size_t index, std::uint64_t generation);
  Result<void> clean_up_after(std::size_t index);
  void end_all();
  int sleep_ms() const;

  // On any thread, under the lock.
  void read_frames(std::size_t index);
  void on_frame(std::size_t index, const Frame& frame);
  void note_templates(Slot& slot, const TemplateCounts& now);
  std::string hear_last_words(Channel& channel);
  void make_ready(std::size_t index);
  Lease lend(std::size_t index, bool packages);
  void condemn(Slot& slot, std::string why);
  void note_failed_birth(std::string why);
  void refuse_all(const Error& error);
  bool may_bear() const;
  bool hopeless() const;         // nobody lives, and every birth fails
  std::size_t living() const;    // workers that have been ready and are not condemned
  std::optional<std::size_t> choose(bool packages) const;
  std::size_t count(SlotState state) const;
  void watch(int fd, std::uint64_t tag);

  void give_back(std::size_t index, std::uint64_t generation, bool finished, Channel channel);
  void complain(std::string_view line) const {
    if (config.complain) config.complain(line);
  }

  Pool& pool;
  const PoolConfig config;
  mutable std::mutex mutex;
  std::condition_variable changed;  // a slot became ready, a birth failed, a lease came back
  std::vector<Slot> slots;
  WaitQueue queue;
  BackOff back_off;
  std::uint64_t ready_serial = 0, births = 0, leaks = 0;
  TemplateCounts templates;  // of all workers there have been
  std::size_t leases = 0;
  std::optional<Micros> usual_lease;  // moving average
  bool draining = false, stopping = false;
  std::optional<ReadyReport> report;
  std::string trouble;
  UniqueFd epoll, command;
  std::thread thread;
};

}  // namespace coderunner
