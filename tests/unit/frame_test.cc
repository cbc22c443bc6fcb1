// Role: pins the bytes of the wire and shows that the decoder takes these and no others.
// Law: the golden bytes are written out here and made by nothing: a change to them is a change of the contract.
#include "common/frame.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <initializer_list>
#include <map>
#include <vector>

#include "tests/support/allocations.h"

namespace coderunner {
namespace {

using namespace std::string_literals;

std::string header_bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes += static_cast<char>(value);
  return bytes;
}

std::string to_bytes(const Frame& frame) {
  const auto header = encode_header(frame.type, frame.payload.size());
  return std::string(header.data(), header.size()) + frame.payload;
}

Result<FrameHeader> parse_header(const std::string& bytes) {
  return decode_header(std::span<const char, kHeaderBytes>(bytes.data(), kHeaderBytes));
}

// Every frame type, by its number and name. A type that is not here must be refused.
const std::map<int, std::pair<FrameType, std::string_view>> kListed = {
    {1, {FrameType::kSetup, "Setup"}},         {2, {FrameType::kJob, "Job"}},
    {3, {FrameType::kFile, "File"}},           {4, {FrameType::kFileData, "FileData"}},
    {5, {FrameType::kStdinData, "StdinData"}}, {6, {FrameType::kRun, "Run"}},
    {7, {FrameType::kCancel, "Cancel"}},       {16, {FrameType::kReady, "Ready"}},
    {17, {FrameType::kFailed, "Failed"}},      {18, {FrameType::kStarted, "Started"}},
    {19, {FrameType::kStdout, "Stdout"}},      {20, {FrameType::kStderr, "Stderr"}},
    {21, {FrameType::kArtifact, "Artifact"}},  {22, {FrameType::kArtifactData, "ArtifactData"}},
    {23, {FrameType::kExit, "Exit"}},
};

// One of each type, with payloads of many lengths: none, one byte, some, the largest.
std::vector<Frame> make_conversation() {
  std::vector<Frame> frames;
  for (const auto& [number, row] : kListed) {
    frames.push_back(
        {row.first, std::string(static_cast<std::size_t>(number % 4 * 7), static_cast<char>('a' + number))});
  }
  frames.push_back({FrameType::kStdout, std::string(kMaxPayload, '\xFF')});
  frames.push_back({FrameType::kStderr, "\0"s});
  return frames;
}

std::string to_stream(const std::vector<Frame>& frames) {
  std::string stream;
  for (const Frame& frame : frames) stream += to_bytes(frame);
  return stream;
}

// Every frame that is complete, into `out`; false at a malformed one.
bool drain(FrameDecoder& decoder, std::vector<Frame>& out) {
  for (;;) {
    auto next = decoder.next();
    if (!next) return false;
    if (!next->complete) return true;
    out.push_back(std::move(next->frame));
  }
}

TEST_CASE("a header is the type, three zero bytes and the length, little-endian") {
  CHECK(to_bytes({FrameType::kStdout, "hi"}) == "\x13\x00\x00\x00\x02\x00\x00\x00hi"s);
  const auto largest = encode_header(FrameType::kArtifactData, 0x10000);
  CHECK(std::string(largest.data(), largest.size()) == "\x16\x00\x00\x00\x00\x00\x01\x00"s);
  const auto odd = encode_header(FrameType::kExit, 0xABCD);
  CHECK(std::string(odd.data(), odd.size()) == "\x17\x00\x00\x00\xCD\xAB\x00\x00"s);
}

TEST_CASE("each listed type has its number and name, and no other number is taken") {
  for (int number = 0; number < 256; ++number) {
    CAPTURE(number);
    const std::string bytes = header_bytes({number, 0, 0, 0, 5, 0, 0, 0});
    const auto header = parse_header(bytes);
    const auto listed = kListed.find(number);
    REQUIRE(header.has_value() == (listed != kListed.end()));
    if (header) {
      CHECK(header->type == listed->second.first);
      CHECK(header->length == 5);
      CHECK(frame_name(header->type) == listed->second.second);
      const auto again = encode_header(header->type, 5);
      CHECK(std::string(again.data(), again.size()) == bytes);
    } else {
      CHECK(header.error().fault == Fault::kWorkerLost);
      CHECK(header.error().message == fmt::format("frame type {} is not listed", number));
    }
  }
}

TEST_CASE("a reserved byte that is not zero is refused") {
  for (std::size_t place = 1; place <= 3; ++place) {
    for (int value = 1; value < 256; ++value) {
      std::string bytes = header_bytes({6, 0, 0, 0, 0, 0, 0, 0});
      REQUIRE(parse_header(bytes).has_value());
      bytes[place] = static_cast<char>(value);
      const auto header = parse_header(bytes);
      REQUIRE_FALSE(header.has_value());
      CHECK(header.error().fault == Fault::kWorkerLost);
      CHECK(header.error().message == fmt::format("reserved byte {} of a frame header is {:#04x}", place, value));
    }
  }
}

TEST_CASE("a length above the limit is refused, and nothing is allocated for it") {
  struct Row {
    std::string length;
    bool taken;
  };
  const Row rows[] = {{"\x00\x00\x00\x00"s, true},  {"\xFF\xFF\x00\x00"s, true},  {"\x00\x00\x01\x00"s, true},
                      {"\x01\x00\x01\x00"s, false}, {"\x00\x00\x02\x00"s, false}, {"\x00\x00\x00\x01"s, false},
                      {"\xFF\xFF\xFF\x7F"s, false}, {"\x00\x00\x00\x80"s, false}, {"\xFF\xFF\xFF\xFF"s, false}};
  for (const Row& row : rows) {
    const std::string bytes = header_bytes({19, 0, 0, 0}) + row.length;
    CHECK(parse_header(bytes).has_value() == row.taken);
    FrameDecoder decoder;
    decoder.feed(bytes);
    test::reset_largest_allocation();
    CHECK(decoder.next().has_value() == row.taken);
    CHECK(test::largest_allocation() < 1024);  // a message at most; nor for a length that is right but not there yet
  }
}

TEST_CASE("frames come out as they went in, however the stream is cut") {
  const std::vector<Frame> frames = make_conversation();
  const std::string stream = to_stream(frames);
  for (const std::size_t piece :
       {1UZ, 2UZ, 3UZ, 5UZ, 7UZ, 8UZ, 9UZ, 13UZ, 64UZ, 4093UZ, 65536UZ, 65544UZ, stream.size()}) {
    CAPTURE(piece);
    FrameDecoder decoder;
    std::vector<Frame> out;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      decoder.feed(std::string_view(stream).substr(at, piece));
      REQUIRE(drain(decoder, out));
    }
    CHECK(out == frames);
    CHECK(decoder.pending() == 0);
  }
}

TEST_CASE("frames that are fed together come out one by one, and the rest is kept") {
  FrameDecoder decoder;
  const std::string second = to_bytes({FrameType::kStderr, "second"});
  decoder.feed(to_bytes({FrameType::kStdout, "first"}) + second.substr(0, 9));
  const auto first = decoder.next();
  REQUIRE(first.has_value());
  CHECK(first->complete);
  CHECK(first->frame == Frame{FrameType::kStdout, "first"});
  CHECK(decoder.pending() == 9);
  CHECK_FALSE(decoder.next().value().complete);
  decoder.feed(second.substr(9));
  const auto rest = decoder.next();
  CHECK(rest.value().frame == Frame{FrameType::kStderr, "second"});
  CHECK(decoder.pending() == 0);
}

TEST_CASE("every truncation of a stream yields the frames before the cut and says that bytes are pending") {
  const std::vector<Frame> frames = {
      {FrameType::kSetup, "setup"}, {FrameType::kRun, ""}, {FrameType::kStdout, "0123456789"}, {FrameType::kExit, "e"}};
  const std::string stream = to_stream(frames);
  for (std::size_t length = 0; length <= stream.size(); ++length) {
    CAPTURE(length);
    FrameDecoder decoder;
    std::vector<Frame> out, expected;
    decoder.feed(std::string_view(stream).substr(0, length));
    REQUIRE(drain(decoder, out));
    std::size_t end = 0;
    for (const Frame& frame : frames) {
      if (end + kHeaderBytes + frame.payload.size() > length) break;
      end += kHeaderBytes + frame.payload.size();
      expected.push_back(frame);
    }
    CHECK(out == expected);
    CHECK(decoder.pending() == length - end);
  }
}

TEST_CASE("a decoder that met a malformed header gives the frames before it and none after it") {
  const std::string good = to_bytes({FrameType::kStdout, "good"});
  for (const std::string& bad : {header_bytes({0, 0, 0, 0, 0, 0, 0, 0}), header_bytes({19, 0, 1, 0, 4, 0, 0, 0}),
                                 header_bytes({19, 0, 0, 0, 1, 0, 1, 0})}) {
    FrameDecoder decoder;
    std::vector<Frame> out;
    decoder.feed(good + bad + good);
    CHECK_FALSE(drain(decoder, out));
    CHECK(out == std::vector<Frame>{{FrameType::kStdout, "good"}});
    decoder.feed(good);
    const auto again = decoder.next();
    REQUIRE_FALSE(again.has_value());
    CHECK(again.error().fault == Fault::kWorkerLost);
  }
}

TEST_CASE("a decoder does not keep what it has handed out") {
  FrameDecoder decoder;
  const std::string frame = to_bytes({FrameType::kStdout, std::string(1000, 'x')});
  test::reset_largest_allocation();
  // Always a frame and a half ahead, so that the buffer is never empty.
  decoder.feed(frame.substr(0, 500));
  for (int i = 0; i < 10'000; ++i) {
    decoder.feed(frame.substr(500) + frame.substr(0, 500));
    REQUIRE(decoder.next().value().complete);
  }
  CHECK(decoder.pending() == 500);
  CHECK(test::largest_allocation() < 16 * 1024);  // ten megabytes went through
}

}  // namespace
}  // namespace coderunner
