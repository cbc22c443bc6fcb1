// Role: frames in and out over one Unix stream socket.
// Callers: session.cc and pool.cc (supervisor's end), worker/main.cc, run_job.cc and pump.cc (worker's end).
// Law: the socket is non-blocking; only `receive` and `send` wait, and only until their deadline. At most the frames
// handed to `queue` since the last complete flush are held: callers stop producing while wants_write() is true.
#pragma once

#include <deque>
#include <optional>
#include <string_view>

#include "common/frame.h"
#include "common/unique_fd.h"
#include "common/units.h"

namespace coderunner {

class Channel {
 public:
  Channel() = default;
  explicit Channel(UniqueFd socket);  // makes it non-blocking

  [[nodiscard]] int fd() const { return socket_.get(); }
  void close() { socket_.reset(); }

  // The next frame; nullopt when the deadline passes first. Fault::kWorkerLost at the end of the stream, on a
  // malformed frame and on a broken socket.
  Result<std::optional<Frame>> receive(Deadline deadline);
  // The next frame if one is there already; never waits.
  Result<std::optional<Frame>> try_receive();

  // Sends everything queued, then this frame. Fault::kWorkerLost when the peer is gone or the deadline passes.
  // A payload above kMaxPayload is a bug of the caller (assert); cut with send_pieces.
  Result<void> send(FrameType type, std::string_view payload, Deadline deadline);
  // The bytes in frames of at most kMaxPayload; none for empty bytes.
  Result<void> send_pieces(FrameType type, std::string_view bytes, Deadline deadline);

  // Non-blocking side: queue a frame, then flush when poll(2) says POLLOUT.
  void queue(FrameType type, std::string_view payload);
  [[nodiscard]] bool wants_write() const { return sent_ < out_.size(); }
  Result<void> flush();  // writes what the socket takes now

 private:
  Result<bool> fill();  // reads once; false when it would block
  UniqueFd socket_;
  FrameDecoder decoder_;
  std::string out_;
  std::size_t sent_ = 0;
};

}  // namespace coderunner
