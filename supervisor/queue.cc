// Role: tickets and their bells.
// Callers: see queue.h.
#include "supervisor/queue.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

#include "common/sys.h"
#include "supervisor/hang_up.h"

namespace coderunner {

Result<Ticket> Ticket::make(Bytes held, bool packages) {
  const auto bell = sys::retry("eventfd", [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
  // Nothing has been run: to ask again is right.
  if (!bell) return fail(Fault::kUnavailable, "no request can wait for a worker: " + bell.error().message);
  return Ticket(UniqueFd(static_cast<int>(*bell)), held, packages);
}

Result<bool> Ticket::wait(int client_fd) const {
  std::array<pollfd, 2> entries = {pollfd{.fd = bell_.get(), .events = POLLIN, .revents = 0}, watch_client(client_fd)};
  TRY(sys::poll(entries, Deadline::never()));
  return entries[0].revents != 0;
}

void Ticket::answer(Result<Lease> answer) {
  answer_.emplace(std::move(answer));
  ::eventfd_write(bell_.get(), 1);  // can not fail: the counter is 0 before, and rung once
}

Result<void> WaitQueue::check_room(Bytes held) const {
  if (tickets_.size() >= most_) {
    return fail(Fault::kBusy, fmt::format("all workers are busy and {} requests wait already", tickets_.size()));
  }
  if (bytes_ > 0 && (held > most_bytes_ || bytes_ > most_bytes_ - held)) {
    return fail(Fault::kBusy, fmt::format("all workers are busy and the waiting requests hold {} bytes", bytes_));
  }
  return {};
}

void WaitQueue::push(Ticket& ticket) {
  tickets_.push_back(&ticket);
  bytes_ += ticket.held();
}

Ticket& WaitQueue::pop() {
  Ticket& ticket = *tickets_.front();
  tickets_.pop_front();
  bytes_ -= ticket.held();
  return ticket;
}

void WaitQueue::remove(const Ticket& ticket) {
  const auto found = std::ranges::find(tickets_, &ticket);
  if (found == tickets_.end()) return;
  tickets_.erase(found);
  bytes_ -= ticket.held();
}

}  // namespace coderunner
