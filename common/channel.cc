// Role: frames over a non-blocking socket: reads into the decoder, writes out of one buffer.
// Callers: see channel.h.
// Law: whatever goes wrong on the socket is Fault::kWorkerLost: the peer is of no more use, whichever end asks.
#include "common/channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cassert>
#include <utility>

#include "common/sys.h"

namespace coderunner {

namespace {

std::unexpected<Error> lost(std::string_view why) {
  return fail(Fault::kWorkerLost, fmt::format("channel: {}", why));
}

// True once the socket is ready (or broken: the next call on it says how), false when the deadline passes first.
Result<bool> wait_for(int fd, short events, Deadline deadline) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  return TRY(sys::poll({&entry, 1}, deadline)) > 0;
}

}  // namespace

Channel::Channel(UniqueFd socket) : socket_(std::move(socket)) {
  // Fails only on what is no open descriptor, and then so does the first call that moves a frame.
  static_cast<void>(sys::set_nonblocking(socket_.get(), true));
}

Result<bool> Channel::fill() {
  std::array<char, kMaxPayload> chunk;  // a whole frame at a time, on the stack: nothing grows with the peer's pace
  const auto count = sys::read_some(socket_.get(), chunk);
  if (!count) return lost(count.error().message);
  if (!*count) return false;
  if (**count == 0) return lost(decoder_.pending() == 0 ? "the peer has gone" : "the peer has gone amid a frame");
  decoder_.feed({chunk.data(), **count});
  return true;
}

Result<std::optional<Frame>> Channel::try_receive() {
  for (;;) {
    FrameDecoder::Next next = TRY(decoder_.next());
    if (next.complete) return std::move(next.frame);
    if (!TRY(fill())) return std::nullopt;
  }
}

Result<std::optional<Frame>> Channel::receive(Deadline deadline) {
  for (;;) {
    std::optional<Frame> frame = TRY(try_receive());
    if (frame) return frame;
    // Asked here as well as in poll: a peer that sends a byte at a time keeps the socket readable for ever.
    if (deadline.passed() || !TRY(wait_for(fd(), POLLIN, deadline))) return std::nullopt;
  }
}

void Channel::queue(FrameType type, std::string_view payload) {
  if (sent_ > 0 && sent_ >= out_.size() / 2) {  // as in FrameDecoder::feed
    out_.erase(0, sent_);
    sent_ = 0;
  }
  const auto header = encode_header(type, payload.size());
  out_.append(header.data(), header.size());
  out_ += payload;
}

Result<void> Channel::flush() {
  while (wants_write()) {
    ssize_t count = -1;
    // MSG_NOSIGNAL: a peer that has gone is an answer (EPIPE) and not the end of this process (SIGPIPE).
    do count = ::send(fd(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    while (count == -1 && sys::interrupted());
    if (count == -1) {
      if (sys::would_block()) return {};
      return lost(sys::last_error("send").message);
    }
    sent_ += static_cast<std::size_t>(count);
  }
  out_.clear();
  sent_ = 0;
  return {};
}

Result<void> Channel::send(FrameType type, std::string_view payload, Deadline deadline) {
  assert(payload.size() <= kMaxPayload);
  queue(type, payload);
  for (;;) {
    TRY(flush());
    if (!wants_write()) return {};
    if (deadline.passed() || !TRY(wait_for(fd(), POLLOUT, deadline))) {
      return lost(fmt::format("the peer does not take a {} frame in time", frame_name(type)));
    }
  }
}

Result<void> Channel::send_pieces(FrameType type, std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kMaxPayload);
    TRY(send(type, piece, deadline));
    bytes.remove_prefix(piece.size());
  }
  return {};
}

}  // namespace coderunner
