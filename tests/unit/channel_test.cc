// Role: a Channel against a bare socket, and two Channels against each other.
// Law: nothing here depends on how fast anything is; a test that would wait for ever is ended by its runner.
#include "common/channel.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <thread>

#include "common/sys.h"
#include "tests/support/allocations.h"

namespace coderunner {
namespace {

using namespace std::string_literals;

std::string to_bytes(FrameType type, std::string_view payload) {
  const auto header = encode_header(type, payload.size());
  return std::string(header.data(), header.size()).append(payload);
}

// A channel and the bare other end of its socket.
struct Ends {
  Channel channel;
  UniqueFd peer;
};
Ends make_ends() {
  Pipe pair = sys::make_socket_pair().value();
  return {Channel(std::move(pair.read)), std::move(pair.write)};
}

const Deadline kPassed = Deadline::in(Millis(0));

TEST_CASE("a channel makes its socket non-blocking, and does not wait where it says so") {
  Ends ends = make_ends();
  CHECK((::fcntl(ends.channel.fd(), F_GETFL) & O_NONBLOCK) != 0);
  const auto frame = ends.channel.try_receive();
  REQUIRE(frame.has_value());
  CHECK_FALSE(frame->has_value());
}

TEST_CASE("what is sent is on the wire as frame.h draws it") {
  Ends ends = make_ends();
  REQUIRE(ends.channel.send(FrameType::kStdout, "hello", kPassed).has_value());
  REQUIRE(ends.channel.send(FrameType::kRun, "", kPassed).has_value());
  ends.channel.close();
  CHECK(sys::read_all(ends.peer.get(), 100).value() ==
        to_bytes(FrameType::kStdout, "hello") + to_bytes(FrameType::kRun, ""));
}

TEST_CASE("a frame that is there is received even when the deadline has passed") {
  Ends ends = make_ends();
  REQUIRE(sys::write_all(ends.peer.get(), to_bytes(FrameType::kStdout, "a") + to_bytes(FrameType::kStderr, "b"))
              .has_value());
  CHECK(ends.channel.receive(kPassed).value() == Frame{FrameType::kStdout, "a"});
  CHECK(ends.channel.receive(kPassed).value() == Frame{FrameType::kStderr, "b"});
  CHECK(ends.channel.receive(kPassed).value() == std::nullopt);
}

TEST_CASE("a frame that comes byte by byte is received once it is whole") {
  Ends ends = make_ends();
  const std::string bytes = to_bytes(FrameType::kStderr, "piece by piece");
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    REQUIRE(sys::write_all(ends.peer.get(), bytes.substr(i, 1)).has_value());
    REQUIRE(ends.channel.try_receive().value() == std::nullopt);
  }
  CHECK(ends.channel.receive(Deadline::in(Millis(20))).value() == std::nullopt);  // half a frame is none
  REQUIRE(sys::write_all(ends.peer.get(), bytes.substr(bytes.size() - 1)).has_value());
  CHECK(ends.channel.receive(Deadline::never()).value() == Frame{FrameType::kStderr, "piece by piece"});
}

TEST_CASE("receive waits until a frame comes") {
  Ends ends = make_ends();
  std::thread writer([&] {
    const std::string bytes = to_bytes(FrameType::kExit, "later");
    for (const char byte : bytes) static_cast<void>(sys::write_all(ends.peer.get(), {&byte, 1}));
  });
  const auto frame = ends.channel.receive(Deadline::never());
  writer.join();
  REQUIRE(frame.has_value());
  CHECK(*frame == Frame{FrameType::kExit, "later"});
}

TEST_CASE("megabytes cross in pieces of at most a frame, in order, while the other end reads") {
  Ends ends = make_ends();
  std::string bytes(5 * kMiB + 17, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  Result<void> sent;
  std::thread sender([&] { sent = ends.channel.send_pieces(FrameType::kFileData, bytes, Deadline::never()); });
  Channel reader(std::move(ends.peer));
  std::string received;
  std::size_t frames = 0;
  while (received.size() < bytes.size()) {
    const auto frame = reader.receive(Deadline::never());
    if (!frame || !*frame || (*frame)->type != FrameType::kFileData || (*frame)->payload.empty()) break;
    received += (*frame)->payload;
    ++frames;
  }
  reader.close();
  sender.join();
  CHECK(sent.has_value());
  CHECK((received == bytes));
  CHECK(frames == bytes.size() / kMaxPayload + 1);
}

TEST_CASE("no bytes are no frame") {
  Ends ends = make_ends();
  REQUIRE(ends.channel.send_pieces(FrameType::kStdinData, "", kPassed).has_value());
  ends.channel.close();
  CHECK(sys::read_all(ends.peer.get(), 100).value().empty());
}

TEST_CASE("what the socket does not take stays queued, and goes out in order as the peer reads") {
  Ends ends = make_ends();
  Channel peer(std::move(ends.peer));
  std::size_t queued = 0;
  const auto payload_of = [](std::size_t index) {
    return std::string(1 + index * 997 % kMaxPayload, static_cast<char>(index));
  };
  while (!ends.channel.wants_write()) {
    ends.channel.queue(FrameType::kStdout, payload_of(queued++));
    CHECK(ends.channel.wants_write());
    REQUIRE(ends.channel.flush().has_value());
    REQUIRE(queued < 10'000);  // a socket takes a few hundred kilobytes
  }
  // From here on it is never empty: each time that the peer has read all, some goes out and some more is queued.
  for (int i = 0; i < 20; ++i) ends.channel.queue(FrameType::kStdout, payload_of(queued++));
  test::reset_largest_allocation();
  std::size_t received = 0;
  while (received < queued) {
    const auto frame = peer.try_receive();
    REQUIRE(frame.has_value());
    if (*frame) {
      REQUIRE((**frame == Frame{FrameType::kStdout, payload_of(received)}));
      ++received;
      continue;
    }
    REQUIRE(ends.channel.wants_write());  // else a frame is lost
    REQUIRE(ends.channel.flush().has_value());
    while (queued < 1000 && queued < received + 30) ends.channel.queue(FrameType::kStdout, payload_of(queued++));
  }
  CHECK(test::largest_allocation() <= 8 * kMiB);  // of 30 MB that went through
  CHECK_FALSE(ends.channel.wants_write());
  CHECK(peer.try_receive().value() == std::nullopt);
}

TEST_CASE("send lets what is queued go first") {
  Ends ends = make_ends();
  ends.channel.queue(FrameType::kStdout, "first");
  REQUIRE(ends.channel.send(FrameType::kExit, "second", kPassed).has_value());
  CHECK_FALSE(ends.channel.wants_write());
  ends.channel.close();
  CHECK(sys::read_all(ends.peer.get(), 100).value() ==
        to_bytes(FrameType::kStdout, "first") + to_bytes(FrameType::kExit, "second"));
}

TEST_CASE("send gives up at its deadline when the peer does not read") {
  Ends ends = make_ends();
  const std::string payload(kMaxPayload, 'x');
  Result<void> sent;
  for (int i = 0; i < 10'000 && sent; ++i)
    sent = ends.channel.send(FrameType::kStdout, payload, Deadline::in(Millis(10)));
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error().fault == Fault::kWorkerLost);
  CHECK(sent.error().message == "channel: the peer does not take a Stdout frame in time");
}

TEST_CASE("the end of the stream is an error, after the frames that came before it") {
  struct Row {
    std::string tail;
    std::string_view message;
  };
  for (const Row& row :
       {Row{"", "channel: the peer has gone"}, Row{"\x13", "channel: the peer has gone amid a frame"},
        Row{to_bytes(FrameType::kStdout, "abc").substr(0, 10), "channel: the peer has gone amid a frame"}}) {
    Ends ends = make_ends();
    REQUIRE(sys::write_all(ends.peer.get(), to_bytes(FrameType::kExit, "last") + row.tail).has_value());
    ends.peer.reset();
    CHECK(ends.channel.receive(Deadline::never()).value() == Frame{FrameType::kExit, "last"});
    for (int again = 0; again < 2; ++again) {
      const auto end = ends.channel.receive(Deadline::never());
      REQUIRE_FALSE(end.has_value());
      CHECK(end.error().fault == Fault::kWorkerLost);
      CHECK(end.error().message == row.message);
    }
    CHECK_FALSE(ends.channel.try_receive().has_value());
  }
}

TEST_CASE("sending to a peer that has gone is an error and no signal") {
  Ends ends = make_ends();
  ends.peer.reset();
  const auto sent = ends.channel.send(FrameType::kRun, "", Deadline::never());
  REQUIRE_FALSE(sent.has_value());
  CHECK(sent.error().fault == Fault::kWorkerLost);
  CHECK(sent.error().message == "channel: send: EPIPE");
  ends.channel.queue(FrameType::kRun, "");
  const auto flushed = ends.channel.flush();
  REQUIRE_FALSE(flushed.has_value());
  CHECK(flushed.error().fault == Fault::kWorkerLost);
}

TEST_CASE("a peer that goes while a sender waits ends the wait") {
  Ends ends = make_ends();
  Result<void> sent;
  std::thread sender([&] {
    const std::string payload(kMaxPayload, 'x');
    while (sent) sent = ends.channel.send(FrameType::kStdout, payload, Deadline::never());
  });
  char byte = 0;
  static_cast<void>(sys::read_some(ends.peer.get(), {&byte, 1}));  // the sender is under way
  ends.peer.reset();
  sender.join();
  CHECK(sent.error().fault == Fault::kWorkerLost);
}

TEST_CASE("a malformed frame is an error, after the frames that came before it") {
  for (const std::string& bad : {"\x00\x00\x00\x00\x00\x00\x00\x00"s, "\x13\x01\x00\x00\x00\x00\x00\x00"s,
                                 "\x13\x00\x00\x00\x01\x00\x01\x00"s}) {
    Ends ends = make_ends();
    REQUIRE(sys::write_all(ends.peer.get(), to_bytes(FrameType::kStarted, "") + bad).has_value());
    CHECK(ends.channel.receive(Deadline::never()).value() == Frame{FrameType::kStarted, ""});
    const auto frame = ends.channel.receive(Deadline::never());
    REQUIRE_FALSE(frame.has_value());
    CHECK(frame.error().fault == Fault::kWorkerLost);
  }
}

TEST_CASE("a channel that is closed, or was never opened, is an error") {
  Ends ends = make_ends();
  ends.channel.close();
  CHECK(ends.channel.fd() == -1);
  CHECK_FALSE(ends.channel.try_receive().has_value());
  CHECK_FALSE(ends.channel.send(FrameType::kRun, "", kPassed).has_value());
  CHECK_FALSE(Channel().receive(kPassed).has_value());
}

}  // namespace
}  // namespace coderunner
