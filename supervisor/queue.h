// Role: the bounded wait for a worker: first come, first served, limited by count and by bytes.
// Callers: pool.cc, under its lock, except Ticket::wait which runs without it.
// Law: a ticket is in the queue or has its answer, never both; whoever gives the answer rings the bell.
#pragma once

#include <deque>
#include <optional>

#include "common/result.h"
#include "common/units.h"
#include "supervisor/pool.h"

namespace coderunner {

// One request that waits. Lives on its thread's stack; the queue only points to it.
class Ticket {
 public:
  static Result<Ticket> make(Bytes held, bool packages = false);

  // Until the bell rings or the client hangs up; true when it was the bell.
  Result<bool> wait(int client_fd) const;

  void answer(Result<Lease> answer);
  // The answer, once; none while in the queue.
  std::optional<Result<Lease>> take_answer() { return std::exchange(answer_, std::nullopt); }
  [[nodiscard]] Bytes held() const { return held_; }
  [[nodiscard]] bool packages() const { return packages_; }  // Pool::borrow

 private:
  Ticket(UniqueFd bell, Bytes held, bool packages) : bell_(std::move(bell)), held_(held), packages_(packages) {}
  UniqueFd bell_;  // eventfd(2)
  Bytes held_;
  bool packages_;
  std::optional<Result<Lease>> answer_;
};

class WaitQueue {
 public:
  WaitQueue(std::size_t most, Bytes most_bytes) : most_(most), most_bytes_(most_bytes) {}

  // Fault::kBusy when there is no room for one more of this size. One that would wait alone may be larger than the
  // bound: it was let in alone (held_bytes.h), and would never find room otherwise.
  [[nodiscard]] Result<void> check_room(Bytes held) const;
  void push(Ticket& ticket);
  Ticket& pop();  // the one that has waited longest; precondition: not empty
  void remove(const Ticket& ticket);

  [[nodiscard]] bool empty() const { return tickets_.empty(); }
  [[nodiscard]] std::size_t size() const { return tickets_.size(); }
  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  std::size_t most_;
  Bytes most_bytes_;
  Bytes bytes_ = 0;
  std::deque<Ticket*> tickets_;
};

}  // namespace coderunner
