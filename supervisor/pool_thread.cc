// Role: the pool's thread: births, deadlines, deaths.
// Callers: pool.cc starts it.
// Law: nothing here runs on another thread, and nothing here holds the lock while it waits for a process.
#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>

#include "common/file_tree.h"
#include "supervisor/orphans.h"
#include "supervisor/pool_state.h"

namespace coderunner {

namespace {

constexpr Millis kReapLimit{5000};     // for a killed process to be gone
constexpr int kLongestSleepMs = 5000;  // a lease that comes back sets a deadline without waking the thread

std::string describe_end(const Result<std::optional<ExitStatus>>& end) {
  if (!end) return end.error().message;
  if (!*end) return "it does not die";
  return (*end)->signal != 0 ? fmt::format("signal {}", (*end)->signal) : fmt::format("exit status {}", (*end)->code);
}

}  // namespace

Pool::State::State(Pool& owner, PoolConfig given)
    : pool(owner), config(std::move(given)), slots(config.workers), queue(config.queue, config.queue_bytes),
      back_off(config.timings.first_pause, config.timings.longest_pause), epoll(::epoll_create1(EPOLL_CLOEXEC)),
      command(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  watch(command.get(), make_tag(Source::kCommand, 0, 0));
  thread = std::thread([this] { run(); });
}

Pool::State::~State() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
  }
  ::eventfd_write(command.get(), 1);
  thread.join();
}

void Pool::State::run() {
  for (;;) {
    {
      const std::lock_guard lock(mutex);
      if (stopping) break;
    }
    give_births();
    condemn_overdue();
    std::array<epoll_event, 64> events;
    const int count = ::epoll_wait(epoll.get(), events.data(), events.size(), sleep_ms());
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
      const std::size_t index = tag >> 44 & 0x3ffff;
      const std::uint64_t generation = tag & ((std::uint64_t{1} << 44) - 1);
      switch (static_cast<Source>(tag >> 62)) {
        case Source::kCommand: break;  // stopping is looked at above; nothing else is commanded
        case Source::kDeath: on_death(index, generation); break;
        case Source::kSocket: {
          const std::lock_guard lock(mutex);
          if (slots[index].generation == generation) read_frames(index);
        }
      }
    }
  }
  end_all();
}

void Pool::State::give_births() {
  for (std::size_t index = 0; index < slots.size(); ++index) {
    {
      const std::lock_guard lock(mutex);
      if (slots[index].state != SlotState::kUnborn) continue;
      if (!may_bear()) return;
      ++slots[index].generation;
      ++births;
    }
    bear(index);
  }
}

void Pool::State::bear(std::size_t index) {
  // `littered` is this thread's own. Nobody is born among what could not be cleared away, for want of descriptors, say.
  if (slots[index].littered) {
    const auto cleared = clean_up_after(index);
    const std::lock_guard lock(mutex);
    if (!cleared) return note_failed_birth(cleared.error().message);
    slots[index].littered = false;
  }
  WorkerSetup setup = config.setup;
  setup.index = static_cast<std::uint32_t>(index);
  if (index < config.cgroup_dirs.size()) setup.cgroup_dirs = config.cgroup_dirs[index];
  auto born = start_worker(config.program, setup);

  const std::lock_guard lock(mutex);
  if (!born) return note_failed_birth(born.error().message);
  Slot& slot = slots[index];
  slot.state = SlotState::kStarting;
  slot.was_ready = false;
  slot.packages = true;
  slot.counts = {};
  slot.template_pids.clear();
  slot.due = Deadline::in(config.timings.birth_limit);
  slot.trouble.clear();
  slot.child = std::move(born->child);
  slot.channel = std::move(born->channel);
  watch(slot.child.pidfd(), make_tag(Source::kDeath, index, slot.generation));
  watch(slot.channel.fd(), make_tag(Source::kSocket, index, slot.generation));
}

void Pool::State::condemn_overdue() {
  const std::lock_guard lock(mutex);
  for (Slot& slot : slots) {
    const bool starting = slot.state == SlotState::kStarting;
    if (!starting && slot.state != SlotState::kResetting) continue;
    if (!slot.due.passed()) continue;
    const Millis limit = starting ? config.timings.birth_limit : config.timings.reset_limit;
    condemn(slot, fmt::format("it was not ready within {} ms", limit.count()));
  }
}

int Pool::State::sleep_ms() const {
  const std::lock_guard lock(mutex);
  Deadline wake = Deadline::never();
  for (const Slot& slot : slots) {
    if (slot.state == SlotState::kStarting || slot.state == SlotState::kResetting) wake = wake.earlier(slot.due);
    if (slot.state == SlotState::kBusy) wake = wake.earlier(Deadline::in(Millis{kLongestSleepMs}));
    if (slot.state == SlotState::kUnborn && !draining) {
      // A birth that waits for another one to succeed is looked at again when that one's slot changes.
      const auto pause = std::chrono::ceil<Millis>(back_off.allowed() - Clock::now());
      if (back_off.failures() > 0 && pause.count() > 0) wake = wake.earlier(Deadline::in(pause));
      else if (may_bear()) wake = wake.earlier(Deadline::in(Millis{0}));
    }
  }
  return wake.poll_timeout();
}

// The slot is free for the next generation once everything of this one is gone.
void Pool::State::on_death(std::size_t index, std::uint64_t generation) {
  Child child;
  {
    const std::lock_guard lock(mutex);
    Slot& slot = slots[index];
    if (slot.generation != generation || !slot.child.running()) return;
    if (slot.state != SlotState::kBusy) {
      std::string reason = hear_last_words(slot.channel);
      if (slot.trouble.empty()) slot.trouble = std::move(reason);
    }
    child = std::move(slot.child);
    slot.channel = Channel();
    slot.state = SlotState::kDying;
  }
  const std::string end = describe_end(child.wait(Deadline::in(kReapLimit)));
  const auto cleared = clean_up_after(index);

  const std::lock_guard lock(mutex);
  Slot& slot = slots[index];
  slot.state = SlotState::kUnborn;
  slot.littered = !cleared;
  if (!cleared) complain(cleared.error().message);
  const std::string why = slot.trouble.empty() ? end : fmt::format("{} ({})", slot.trouble, end);
  if (!slot.was_ready) return note_failed_birth(why);
  complain(fmt::format("worker {} is replaced: {}", index, why));
}

// What a job leaves when its worker could not clean up. With namespaces the kernel ends the processes and drops the
// mounts; at the reduced level they are ours to end, and the directory ours to remove.
Result<void> Pool::State::clean_up_after(std::size_t index) {
  std::vector<pid_t> spared;
  for (const Child* child : config.other_children) spared.push_back(child->pid());
  {
    const std::lock_guard lock(mutex);
    for (const Slot& slot : slots) {
      if (slot.child.running()) spared.push_back(slot.child.pid());
    }
  }
  const auto left = [&](std::string_view what, const Error& why) {
    return fail(Fault::kSandbox, fmt::format("worker {} has left {}: {}", index, what, why.message));
  };
  const auto ended = end_orphans(spared, Deadline::in(kReapLimit));
  if (!ended) return left("processes", ended.error());
  if (config.setup.temp_dir.empty()) return {};
  const auto removed = remove_tree(fmt::format("{}/worker-{}", config.setup.temp_dir, index));
  if (!removed) return left("its directory", removed.error());
  return {};
}

void Pool::State::end_all() {
  std::vector<Child> dying(slots.size());
  {
    const std::lock_guard lock(mutex);
    for (std::size_t index = 0; index < slots.size(); ++index) {
      dying[index] = std::move(slots[index].child);
      dying[index].kill(SIGKILL);  // all are hit before one is waited for
    }
  }
  for (std::size_t index = 0; index < slots.size(); ++index) {
    dying[index] = Child();  // reaps
    if (const auto cleared = clean_up_after(index); !cleared) complain(cleared.error().message);
  }
}

}  // namespace coderunner
