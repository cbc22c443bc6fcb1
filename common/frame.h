// Role: the whole contract between supervisor and worker: bytes, types, limits, who may send what when.
// Callers: channel.cc moves frames, wire.h fills them, session.cc and worker/main.cc speak them.
// Law: nothing crosses the process border but these frames, over one Unix stream socket a worker.
//
//   byte   0        1 2 3      4 5 6 7            8 …
//        +--------+----------+------------------+------------------------+
//        | type   | 0 0 0    | length, LE u32   | payload, length bytes  |
//        +--------+----------+------------------+------------------------+
//
// A payload is at most kMaxPayload bytes; longer contents travel in pieces. A type that is not listed, a reserved byte
// that is not zero, a length above the limit, or a frame out of turn costs the sender its life (a worker is killed
// and replaced, a worker that hears one exits) and the job at hand a -1; it never costs the supervisor anything.
//
//   supervisor                                   worker
//   Setup          ->                                              once, first
//                  <-                            Ready             the sandbox is parked; or Failed,
//                                                                  and the worker exits
//   Job            ->
//   File, FileData…, (more files)  ->
//   StdinData…     ->
//   Run            ->
//                  <-                            Started           the script has been let go
//   Cancel         -> (any time after Run)       Stdout, Stderr…   as they come
//                  <-                            Artifact, ArtifactData…   when every process of the job is dead
//                  <-                            Exit              the last of the job
//                  <-                            Ready             nothing of the job is left,
//                                                                  the next sandbox is parked
//
// Ready may come again while no job runs, when a parked sandbox has been replaced; it may cross a Job on its way. A
// Cancel may cross an Exit: a worker without a job takes no notice of it.
//
// Backpressure: both ends write only while the other reads; a worker that can not write stops reading its script's
// pipes, and so the script stops. Nothing is buffered beyond a frame or two.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"

namespace coderunner {

inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kMaxPayload = 64 * 1024;

enum class FrameType : std::uint8_t {
  // supervisor to worker
  kSetup = 1,      // WorkerSetup
  kJob = 2,        // JobSpec
  kFile = 3,       // FileHeader; then exactly FileHeader::bytes of kFileData
  kFileData = 4,   // raw bytes, not empty
  kStdinData = 5,  // raw bytes, not empty
  kRun = 6,        // empty
  kCancel = 7,     // CancelOrder
  // worker to supervisor
  kReady = 16,         // ReadyReport
  kFailed = 17,        // text: why no sandbox could be made; the worker exits after it
  kStarted = 18,       // empty
  kStdout = 19,        // raw bytes, not empty
  kStderr = 20,        // raw bytes, not empty
  kArtifact = 21,      // ArtifactHeader; then, unless skipped, exactly ArtifactHeader::bytes of kArtifactData
  kArtifactData = 22,  // raw bytes, not empty
  kExit = 23,          // ExitReport
};

struct Frame {
  FrameType type = FrameType::kRun;
  std::string payload;
  bool operator==(const Frame&) const = default;
};

struct FrameHeader {
  FrameType type;
  std::uint32_t length;  // 0..kMaxPayload
};

// Precondition: payload.size() <= kMaxPayload.
std::array<char, kHeaderBytes> encode_header(FrameType type, std::size_t payload_bytes);

// Fault::kWorkerLost with the offending byte when the header is not one of ours.
Result<FrameHeader> decode_header(std::span<const char, kHeaderBytes> bytes);

// A name for messages: "Stdout".
std::string_view frame_name(FrameType type);

// Bytes in, frames out. Holds at most one incomplete frame and what was fed with it.
class FrameDecoder {
 public:
  void feed(std::span<const char> bytes);
  // A frame, or nothing until more is fed: Result holds an optional-like flag to keep errors apart from "not yet".
  struct Next {
    bool complete = false;
    Frame frame;
  };
  Result<Next> next();
  // Bytes that no frame has used yet; not zero at the end of the stream means a truncated frame.
  [[nodiscard]] std::size_t pending() const { return buffer_.size() - used_; }

 private:
  std::string buffer_;
  std::size_t used_ = 0;
};

}  // namespace coderunner
