// Role: which worker is lent, to whom, and what becomes of it when it comes back.
// Callers: see pool.h.
// Law: see pool_state.h. The functions of State in this file run on any thread, under the lock.
#include "supervisor/pool.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>

#include "common/wire.h"
#include "supervisor/pool_state.h"

namespace coderunner {

namespace {

constexpr int kLeaseWeight = 8;  // the last few dozen jobs make up nearly all of the average
constexpr const char* kLeakReason = "a job left something behind";

}  // namespace

void Pool::State::watch(int fd, std::uint64_t tag) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = tag}};
  // Fails only without memory or above fs.epoll.max_user_watches; the worker is then found overdue.
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
}

void Pool::State::read_frames(std::size_t index) {
  Slot& slot = slots[index];
  // An event that was under way when the worker was lent or condemned is about someone else's socket by now.
  while (slot.state != SlotState::kUnborn && slot.state != SlotState::kBusy && slot.state != SlotState::kDying) {
    auto frame = slot.channel.try_receive();
    if (!frame) return condemn(slot, frame.error().message);
    if (!*frame) return;
    on_frame(index, **frame);
  }
}

void Pool::State::on_frame(std::size_t index, const Frame& frame) {
  Slot& slot = slots[index];
  if (frame.type == FrameType::kFailed) return condemn(slot, frame.payload);
  if (frame.type != FrameType::kReady) {
    return condemn(slot, fmt::format("it sent a {} frame while idle", frame_name(frame.type)));
  }
  auto heard = decode<ReadyReport>(frame.payload);
  if (!heard) return condemn(slot, heard.error().message);
  note_templates(slot, heard->counts);
  slot.template_pids = heard->template_pids;
  if (heard->leaks > 0) {
    // It ends by itself, and is condemned when it has not done so in time.
    leaks += heard->leaks;
    slot.trouble = kLeakReason;
    return;
  }
  if (report && report->level == SandboxLevel::kFull && heard->level == SandboxLevel::kReduced)
    complain(fmt::format("worker {} has the reduced sandbox only, those before it had the full one", index));
  report = std::move(*heard);
  slot.was_ready = true;
  back_off.succeeded();
  trouble.clear();
  // A worker that is ready already has put another sandbox in place of the parked one, which had broken or was no match
  // for what its templates can fork by now.
  if (slot.state != SlotState::kReady) make_ready(index);
}

void Pool::State::note_templates(Slot& slot, const TemplateCounts& now) {
  const auto add = [](std::uint64_t& total, std::uint64_t& before, std::uint64_t said) {
    if (said > before) total += said - before;
    before = said;
  };
  add(templates.births, slot.counts.births, now.births);
  add(templates.losses, slot.counts.losses, now.losses);
  add(templates.forks, slot.counts.forks, now.forks);
}

// What a worker said before a death that became known first: the reason, or empty. A leak is counted, since it ends
// after one; that it was ready counts no more.
std::string Pool::State::hear_last_words(Channel& channel) {
  std::string reason;
  while (channel.fd() >= 0) {
    const auto frame = channel.try_receive();
    if (!frame || !*frame) break;
    if ((*frame)->type == FrameType::kFailed) reason = (*frame)->payload;
    if ((*frame)->type != FrameType::kReady) continue;
    const auto heard = decode<ReadyReport>((*frame)->payload);
    if (!heard || heard->leaks == 0) continue;
    leaks += heard->leaks;
    reason = kLeakReason;
  }
  return reason;
}

void Pool::State::make_ready(std::size_t index) {
  slots[index].state = SlotState::kReady;
  slots[index].ready_serial = ++ready_serial;
  if (!queue.empty()) {
    Ticket& first = queue.pop();
    first.answer(lend(index, first.packages()));
  }
  changed.notify_all();
}

Lease Pool::State::lend(std::size_t index, bool packages) {
  Slot& slot = slots[index];
  slot.state = SlotState::kBusy;
  slot.lent = Clock::now();
  slot.packages = packages;
  ++leases;
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, slot.channel.fd(), nullptr);
  return Lease(pool, index, slot.generation, std::move(slot.channel));
}

void Pool::State::give_back(std::size_t index, std::uint64_t generation, bool finished, Channel channel) {
  const std::lock_guard lock(mutex);
  --leases;
  changed.notify_all();
  Slot& slot = slots[index];
  if (slot.generation != generation || slot.state != SlotState::kBusy) {  // dead meanwhile
    if (finished) hear_last_words(channel);
    return;
  }
  const Micros took = since(slot.lent);
  usual_lease = usual_lease ? *usual_lease + (took - *usual_lease) / kLeaseWeight : took;
  if (!finished) return condemn(slot, "its job did not come to an end");
  slot.state = SlotState::kResetting;
  slot.due = Deadline::in(config.timings.reset_limit);
  slot.channel = std::move(channel);
  watch(slot.channel.fd(), make_tag(Source::kSocket, index, generation));
  read_frames(index);  // Ready may have been read together with Exit: the socket would not wake us for it
}

// Its pidfd tells when it is dead. Closing the socket takes it out of the epoll set.
void Pool::State::condemn(Slot& slot, std::string why) {
  if (slot.trouble.empty()) slot.trouble = std::move(why);
  slot.state = SlotState::kDying;
  slot.channel.close();
  slot.child.kill(SIGKILL);
}

void Pool::State::note_failed_birth(std::string why) {
  back_off.failed(Clock::now());
  complain(fmt::format("a worker does not start: {}", why));
  trouble = std::move(why);
  if (hopeless()) refuse_all({Fault::kUnavailable, "no worker can start: " + trouble});
  changed.notify_all();
}

void Pool::State::refuse_all(const Error& error) {
  while (!queue.empty()) queue.pop().answer(std::unexpected(error));
}

// One at a time until a worker has been ready, so that the first job has the processors to itself, and after a failure:
// what is wrong with one worker is wrong with all of them.
bool Pool::State::may_bear() const {
  if (draining || stopping) return false;
  if (back_off.failures() == 0) return ready_serial > 0 || count(SlotState::kStarting) == 0;
  return Clock::now() >= back_off.allowed() && count(SlotState::kStarting) == 0;
}

bool Pool::State::hopeless() const {
  return living() == 0 && back_off.failures() >= config.timings.failures_tolerated;
}

std::size_t Pool::State::living() const {
  return count(SlotState::kReady) + count(SlotState::kBusy) + count(SlotState::kResetting);
}

// One that is prepared for jobs of this kind before others; then last in, first out: the most recent one has the
// warmest caches.
std::optional<std::size_t> Pool::State::choose(bool packages) const {
  std::optional<std::size_t> best;
  for (std::size_t index = 0; index < slots.size(); ++index) {
    if (slots[index].state != SlotState::kReady) continue;
    const auto rank = [&](std::size_t i) { return std::pair(slots[i].packages == packages, slots[i].ready_serial); };
    if (!best || rank(index) > rank(*best)) best = index;
  }
  return best;
}

std::size_t Pool::State::count(SlotState state) const {
  return static_cast<std::size_t>(std::ranges::count(slots, state, &Slot::state));
}

// ---- the outside

Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), slot_(other.slot_), generation_(other.generation_),
      channel_(std::move(other.channel_)), finished_(other.finished_) {}

Lease::~Lease() {
  if (pool_ != nullptr) pool_->state_->give_back(slot_, generation_, finished_, std::move(channel_));
}

const Limits& Lease::limits() const { return pool_->state_->config.setup.limits; }

Pool::Pool(PoolConfig config) : state_(std::make_unique<State>(*this, std::move(config))) {}
Pool::~Pool() = default;

Result<Lease> Pool::borrow(Bytes held, int client_fd, bool packages) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (state.draining) return fail(Fault::kUnavailable, "the service is shutting down");
  if (const auto index = state.choose(packages))
    return state.lend(*index, packages);  // nobody waits while one is ready
  if (state.hopeless()) return fail(Fault::kUnavailable, "no worker can start: " + state.trouble);
  TRY(state.queue.check_room(held));
  Ticket ticket = TRY(Ticket::make(held, packages));
  state.queue.push(ticket);

  lock.unlock();
  const auto rung = ticket.wait(client_fd);
  lock.lock();
  if (auto answer = ticket.take_answer()) return std::move(*answer);
  state.queue.remove(ticket);
  if (!rung) return std::unexpected(rung.error());
  return fail(Fault::kClient, "cancelled: the client went away");
}

std::chrono::seconds Pool::estimate_wait() const {
  const State& state = *state_;
  const std::lock_guard lock(state.mutex);
  const auto ahead = static_cast<std::int64_t>(state.queue.size()) + 1;
  const Micros wait = state.usual_lease.value_or(Micros(0)) * ahead / static_cast<std::int64_t>(state.slots.size());
  return std::clamp(std::chrono::ceil<std::chrono::seconds>(wait), std::chrono::seconds(1), kLongestWait);
}

PoolHealth Pool::health() const {
  const State& state = *state_;
  const std::lock_guard lock(state.mutex);
  PoolHealth health;
  health.ready = state.count(SlotState::kReady);
  health.busy = state.count(SlotState::kBusy);
  health.resetting = state.count(SlotState::kResetting);
  health.starting = state.slots.size() - health.ready - health.busy - health.resetting;
  health.queued = state.queue.size();
  health.queued_bytes = state.queue.bytes();
  health.births = state.births;
  for (const Slot& slot : state.slots) {
    health.respawns += slot.generation > 0 ? slot.generation - 1 : 0;
    if (!slot.child.running()) continue;
    health.worker_pids.push_back(slot.child.pid());
    health.template_pids.insert(health.template_pids.end(), slot.template_pids.begin(), slot.template_pids.end());
  }
  health.leaks = state.leaks;
  health.templates = state.templates;
  health.draining = state.draining;
  health.report = state.report;
  health.trouble = state.trouble;
  return health;
}

bool Pool::wait_until_ready(Deadline deadline) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  while (state.living() == 0) {
    if (state.hopeless() || deadline.passed()) return false;
    const int timeout = deadline.poll_timeout();
    if (timeout < 0) state.changed.wait(lock);
    else state.changed.wait_for(lock, Millis{timeout});
  }
  return true;
}

void Pool::drain() {
  const std::lock_guard lock(state_->mutex);
  state_->draining = true;
  state_->refuse_all({Fault::kUnavailable, "the service is shutting down"});
}

bool Pool::wait_until_idle(Deadline deadline) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  while (state.leases > 0) {
    if (deadline.passed()) return false;
    const int timeout = deadline.poll_timeout();
    if (timeout < 0) state.changed.wait(lock);
    else state.changed.wait_for(lock, Millis{timeout});
  }
  return true;
}

}  // namespace coderunner
