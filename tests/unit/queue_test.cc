// Role: the bounded wait and the pauses between births, without a pool.
#include "supervisor/queue.h"

#include <doctest/doctest.h>

#include "common/sys.h"
#include "supervisor/back_off.h"

namespace coderunner {
namespace {

Result<Lease> refusal() { return fail(Fault::kUnavailable, "no"); }

TEST_CASE("tickets leave in the order in which they came, and bytes follow them") {
  WaitQueue queue(3, 100);
  Ticket first = Ticket::make(50).value(), second = Ticket::make(30).value(), third = Ticket::make(20).value();
  for (Ticket* const ticket : {&first, &second, &third}) {
    REQUIRE(queue.check_room(ticket->held()).has_value());
    queue.push(*ticket);
  }
  CHECK(queue.bytes() == 100);
  queue.remove(second);
  queue.remove(second);  // once is enough
  CHECK(queue.size() == 2);
  CHECK(queue.bytes() == 70);
  CHECK(&queue.pop() == &first);
  CHECK(&queue.pop() == &third);
  CHECK(queue.empty());
  CHECK(queue.bytes() == 0);
}

TEST_CASE("a queue has room up to its limits and not a byte more") {
  struct Row {
    std::size_t most;
    Bytes most_bytes, waiting, asked;
    bool room;
  };
  const Row rows[] = {
      {2, 100, 60, 40, true},  {2, 100, 60, 41, false}, {1, 100, 0, 0, false},
      {2, 0, 0, 0, true},      {2, 100, 0, 101, true},  {2, 100, 1, 100, false},
      {2, 0, 1, 0, false},     {2, ~Bytes{0}, 1, ~Bytes{0}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.asked);
    WaitQueue queue(row.most, row.most_bytes);
    Ticket waiting = Ticket::make(row.waiting).value();
    queue.push(waiting);
    const auto room = queue.check_room(row.asked);
    CHECK(room.has_value() == row.room);
    if (!room) CHECK(room.error().fault == Fault::kBusy);
  }
  CHECK_FALSE(WaitQueue(0, 100).check_room(0).has_value());
}

TEST_CASE("a ticket's bell rings with its answer, which is taken once") {
  Ticket ticket = Ticket::make(0).value();
  CHECK_FALSE(ticket.take_answer().has_value());
  ticket.answer(refusal());
  CHECK(ticket.wait(-1).value());
  const auto answer = ticket.take_answer();
  REQUIRE(answer.has_value());
  CHECK(answer->error().fault == Fault::kUnavailable);
  CHECK_FALSE(ticket.take_answer().has_value());
}

TEST_CASE("a wait ends when the client has gone, not when it speaks; the bell comes first") {
  Pipe client = sys::make_socket_pair().value();
  Ticket ticket = Ticket::make(0).value();
  client.write.reset();
  CHECK_FALSE(ticket.wait(client.read.get()).value());
  ticket.answer(refusal());
  CHECK(ticket.wait(client.read.get()).value());
}

TEST_CASE("failed births double the pause up to its limit, a ready worker ends it") {
  using std::chrono::milliseconds;
  const Clock::time_point start{};
  BackOff back_off(Millis{100}, Millis{1000});
  CHECK(back_off.allowed() <= start);
  for (const int pause : {100, 200, 400, 800, 1000, 1000}) {
    back_off.failed(start);
    CHECK(back_off.allowed() == start + milliseconds(pause));
  }
  CHECK(back_off.failures() == 6);
  back_off.succeeded();
  CHECK(back_off.failures() == 0);
  CHECK(back_off.allowed() <= start);
  back_off.failed(start);
  CHECK(back_off.allowed() == start + milliseconds(100));
}

}  // namespace
}  // namespace coderunner
