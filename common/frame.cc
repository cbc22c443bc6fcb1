// Role: frame headers to bytes and back, and the decoder that cuts a stream of bytes into frames.
// Callers: see frame.h.
// Law: a length is believed only after it has been compared with kMaxPayload.
#include "common/frame.h"

#include <fmt/format.h>

#include <cassert>

namespace coderunner {

namespace {

constexpr std::string_view kUnlisted = "unlisted";

}  // namespace

std::string_view frame_name(FrameType type) {
  switch (type) {  // no default: the compiler names a type that is missing here
    case FrameType::kSetup: return "Setup";
    case FrameType::kJob: return "Job";
    case FrameType::kFile: return "File";
    case FrameType::kFileData: return "FileData";
    case FrameType::kStdinData: return "StdinData";
    case FrameType::kRun: return "Run";
    case FrameType::kCancel: return "Cancel";
    case FrameType::kReady: return "Ready";
    case FrameType::kFailed: return "Failed";
    case FrameType::kStarted: return "Started";
    case FrameType::kStdout: return "Stdout";
    case FrameType::kStderr: return "Stderr";
    case FrameType::kArtifact: return "Artifact";
    case FrameType::kArtifactData: return "ArtifactData";
    case FrameType::kExit: return "Exit";
  }
  return kUnlisted;
}

std::array<char, kHeaderBytes> encode_header(FrameType type, std::size_t payload_bytes) {
  assert(payload_bytes <= kMaxPayload);
  const auto byte = [&](int index) { return static_cast<char>(payload_bytes >> (8 * index) & 0xFF); };
  return {static_cast<char>(type), 0, 0, 0, byte(0), byte(1), byte(2), byte(3)};
}

Result<FrameHeader> decode_header(std::span<const char, kHeaderBytes> bytes) {
  const auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(bytes[index]); };
  const auto type = static_cast<FrameType>(byte(0));
  if (frame_name(type) == kUnlisted) {
    return fail(Fault::kWorkerLost, fmt::format("frame type {} is not listed", byte(0)));
  }
  for (std::size_t i = 1; i < 4; ++i) {
    if (byte(i) != 0) {
      return fail(Fault::kWorkerLost, fmt::format("reserved byte {} of a frame header is {:#04x}", i, byte(i)));
    }
  }
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length |= static_cast<std::uint32_t>(byte(4 + i)) << (8 * i);
  if (length > kMaxPayload) {
    return fail(Fault::kWorkerLost,
                fmt::format("a {} frame of {} bytes, above {}", frame_name(type), length, kMaxPayload));
  }
  return FrameHeader{type, length};
}

void FrameDecoder::feed(std::span<const char> bytes) {
  // Compacts only once half of the buffer is used up, so that each byte is moved at most once for each byte taken.
  if (used_ > 0 && used_ >= buffer_.size() / 2) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
  buffer_.append(bytes.data(), bytes.size());
}

Result<FrameDecoder::Next> FrameDecoder::next() {
  if (pending() < kHeaderBytes) return Next{};
  const char* start = buffer_.data() + used_;
  const FrameHeader header = TRY(decode_header(std::span<const char, kHeaderBytes>(start, kHeaderBytes)));
  if (pending() - kHeaderBytes < header.length) return Next{};
  Next next{.complete = true, .frame = {header.type, std::string(start + kHeaderBytes, header.length)}};
  used_ += kHeaderBytes + header.length;
  return next;
}

}  // namespace coderunner
