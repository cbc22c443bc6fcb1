// Role: libFuzzer target: whatever bytes a peer sends, the decoder and the payloads' readers neither crash nor accept
// two spellings of one value.
// Callers: libFuzzer; the committed corpus is made by make_corpus.py.
// Law: input = one byte n, n % 16 bytes of piece sizes less one (used in turn; none: one piece), and the stream.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "common/frame.h"
#include "common/job.h"
#include "common/wire.h"

using namespace coderunner;

namespace {

void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// What a decoder makes of a stream.
struct Decoded {
  std::vector<Frame> frames;
  bool malformed = false;
  std::size_t pending = 0;
  bool operator==(const Decoded&) const = default;
};

// Feeds the stream in pieces of these sizes, in turn; in one piece when there is none.
Decoded decode_stream(std::string_view stream, std::string_view sizes) {
  Decoded decoded;
  FrameDecoder decoder;
  for (std::size_t turn = 0; !stream.empty() && !decoded.malformed; ++turn) {
    const std::size_t size = sizes.empty() ? stream.size() : static_cast<unsigned char>(sizes[turn % sizes.size()]) + 1U;
    const std::string_view piece = stream.substr(0, size);
    decoder.feed(piece);
    stream.remove_prefix(piece.size());
    for (;;) {
      auto next = decoder.next();
      decoded.malformed = !next;
      if (!next || !next->complete) break;
      demand(next->frame.payload.size() <= kMaxPayload, "a payload is at most kMaxPayload");
      decoded.frames.push_back(std::move(next->frame));
    }
  }
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
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const std::size_t count = static_cast<unsigned char>(input.front()) % 16U;
  input.remove_prefix(1);
  const std::string_view sizes = input.substr(0, count);
  input.remove_prefix(sizes.size());

  const Decoded decoded = decode_stream(input, sizes);
  demand(decoded == decode_stream(input, {}), "the pieces do not matter");
  std::string again;
  for (const Frame& frame : decoded.frames) {
    check_frame(frame);
    const auto header = encode_header(frame.type, frame.payload.size());
    again.append(header.data(), header.size()).append(frame.payload);
  }
  demand(input.starts_with(again), "frames that are taken are those of the stream");
  if (!decoded.malformed) demand(again.size() + decoded.pending == input.size(), "what is not taken is pending");
  return 0;
}
