// Role: libFuzzer target: whatever bytes a peer sends, the decoder and the payloads' readers neither crash nor accept
// two spellings of one value.
// Callers: libFuzzer; the committed corpus is made by make_corpus.py.
// Law: the input is that of pieces.h.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/frame.h"
#include "common/job.h"
#include "common/wire.h"
#include "tests/fuzz/pieces.h"

using namespace coderunner;

namespace {

// What a decoder makes of a stream.
struct Decoded {
  std::vector<Frame> frames;
  bool malformed = false;
  std::size_t pending = 0;
  bool operator==(const Decoded&) const = default;
};

Decoded decode_stream(CutStream stream) {
  Decoded decoded;
  FrameDecoder decoder;
  feed_pieces(stream, [&](std::string_view piece) {
    decoder.feed(piece);
    for (;;) {
      auto next = decoder.next();
      decoded.malformed = !next;
      if (!next || !next->complete) break;
      demand(next->frame.payload.size() <= kMaxPayload, "a payload is at most kMaxPayload");
      decoded.frames.push_back(std::move(next->frame));
    }
    return !decoded.malformed;
  });
  // Bytes behind a malformed header are not fed when the stream comes in pieces: their number says nothing.
  decoded.pending = decoded.malformed ? 0 : decoder.pending();
  return decoded;
}

template <class T>
void check_payload(const std::string& payload) {
  const auto value = decode<T>(payload);
  if (value) demand(encode(*value) == payload, "a payload that is taken is the one that its value has");
}

void check_frame(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kSetup: return check_payload<WorkerSetup>(frame.payload);
    case FrameType::kJob: return check_payload<JobSpec>(frame.payload);
    case FrameType::kFile: return check_payload<FileHeader>(frame.payload);
    case FrameType::kCancel: return check_payload<CancelOrder>(frame.payload);
    case FrameType::kReady: return check_payload<ReadyReport>(frame.payload);
    case FrameType::kArtifact: return check_payload<ArtifactHeader>(frame.payload);
    case FrameType::kExit: return check_payload<ExitReport>(frame.payload);
    case FrameType::kFileData:
    case FrameType::kStdinData:
    case FrameType::kRun:
    case FrameType::kFailed:
    case FrameType::kStarted:
    case FrameType::kStdout:
    case FrameType::kStderr:
    case FrameType::kArtifactData: return;  // raw bytes, or none
  }
  demand(false, "a type that is not listed is refused");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const CutStream stream = read_cut_stream(data, size);
  const Decoded decoded = decode_stream(stream);
  demand(decoded == decode_stream({{}, stream.bytes}), "the pieces do not matter");
  std::string again;
  for (const Frame& frame : decoded.frames) {
    check_frame(frame);
    const auto header = encode_header(frame.type, frame.payload.size());
    again.append(header.data(), header.size()).append(frame.payload);
  }
  demand(stream.bytes.starts_with(again), "frames that are taken are those of the stream");
  if (!decoded.malformed) demand(again.size() + decoded.pending == stream.bytes.size(), "what is not taken is pending");
  return 0;
}
