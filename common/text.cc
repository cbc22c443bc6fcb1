// Role: UTF-8, base64, sizes and JSON strings, each in one pass over its input.
// Callers: see text.h.
// Law: every function takes any bytes whatever; only json_quote passes on what is not UTF-8 as it is.
#include "common/text.h"

#include <array>
#include <cstring>

namespace coderunner {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }

// How many bytes of ASCII the text begins with; eight at a time, since most output is nothing else.
std::size_t count_ascii(std::string_view text) {
  std::size_t count = 0;
  std::uint64_t word = 0;
  for (; count + sizeof word <= text.size(); count += sizeof word) {
    std::memcpy(&word, text.data() + count, sizeof word);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (count < text.size() && is_ascii(text[count])) ++count;
  return count;
}

enum class Utf8 { kWhole, kIncomplete, kIllFormed };

// The first character of a text that is not empty: how it ends, and its length; of a broken one the length of its
// maximal subpart, which is what one U+FFFD stands for.
struct Character {
  Utf8 state;
  std::size_t length;
};

// Unicode 15, table 3-7: the lead byte fixes the length and the range of the second byte; the rest are 80..BF.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {Utf8::kWhole, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8::kIllFormed, 1};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;   // below: overlong
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;  // above: surrogates, or beyond U+10FFFF
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8::kIncomplete, i};
    if (byte(i) < low || byte(i) > high) return {Utf8::kIllFormed, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8::kWhole, length};
}

// The length of the longest prefix that is well-formed.
std::size_t count_well_formed(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size()) {
    if (is_ascii(text[count])) {
      count += count_ascii(text.substr(count));
      continue;
    }
    const Character character = first_character(text.substr(count));
    if (character.state != Utf8::kWhole) break;
    count += character.length;
  }
  return count;
}

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> kBase64Values = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kBase64.size(); ++i) {
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}();

std::size_t count_padding(std::string_view text) {
  if (text.size() < 2 || text.back() != '=') return 0;
  return text[text.size() - 2] == '=' ? 2 : 1;
}

// Takes the digits off the front of the text; nullopt when there is none or the number is above 64 bits.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  std::size_t count = 0;
  for (; count < text.size() && text[count] >= '0' && text[count] <= '9'; ++count) {
    if (__builtin_mul_overflow(number, std::uint64_t{10}, &number)) return std::nullopt;
    if (__builtin_add_overflow(number, static_cast<std::uint64_t>(text[count] - '0'), &number)) return std::nullopt;
  }
  if (count == 0) return std::nullopt;
  text.remove_prefix(count);
  return number;
}

std::optional<Bytes> unit_of(std::string_view suffix) {
  if (suffix.empty()) return 1;
  const char letter = suffix.front();
  suffix.remove_prefix(1);
  if (!suffix.empty() && suffix != "B" && suffix != "iB") return std::nullopt;
  if (letter == 'K') return kKiB;
  if (letter == 'M') return kMiB;
  if (letter == 'G') return kGiB;
  return std::nullopt;
}

}  // namespace

std::string decode_utf8_replace(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (;;) {
    const std::size_t good = count_well_formed(bytes);
    text += bytes.substr(0, good);
    bytes.remove_prefix(good);
    if (bytes.empty()) return text;
    text += kReplacement;
    bytes.remove_prefix(first_character(bytes).length);
  }
}

bool is_utf8(std::string_view bytes) { return count_well_formed(bytes) == bytes.size(); }

std::string_view drop_incomplete_utf8(std::string_view bytes) {
  for (std::size_t tail = 1; tail <= 3 && tail <= bytes.size(); ++tail) {
    const Character last = first_character(bytes.substr(bytes.size() - tail));
    if (last.state == Utf8::kIncomplete) return bytes.substr(0, bytes.size() - tail);
  }
  return bytes;
}

std::string encode_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  while (!bytes.empty()) {
    const std::string_view group = bytes.substr(0, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) text += i <= group.size() ? kBase64[bits >> (18 - 6 * i) & 63] : '=';
    bytes.remove_prefix(group.size());
  }
  return text;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(decoded_base64_bytes(text));
  for (; !text.empty(); text.remove_prefix(4)) {
    // Padding ends the text: in any other group '=' is not of the alphabet.
    const std::size_t padding = text.size() == 4 ? count_padding(text) : 0;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const int value = i < 4 - padding ? kBase64Values[static_cast<unsigned char>(text[i])] : 0;
      if (value < 0) return std::nullopt;
      bits = bits << 6 | static_cast<std::uint32_t>(value);
    }
    const std::size_t count = 3 - padding;
    if ((bits & ((1U << (8 * padding)) - 1)) != 0) return std::nullopt;  // stray bits (RFC 4648, 3.5)
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(bits >> (16 - 8 * i) & 0xFF);
  }
  return bytes;
}

std::size_t decoded_base64_bytes(std::string_view text) {
  return text.size() < 4 ? 0 : text.size() / 4 * 3 - count_padding(text);
}

std::optional<Bytes> parse_size(std::string_view text) {
  const auto whole = take_number(text);
  if (!whole) return std::nullopt;
  std::uint64_t fraction = 0, scale = 1;
  const bool has_fraction = text.starts_with('.');
  if (has_fraction) {
    text.remove_prefix(1);
    const std::size_t before = text.size();
    const auto digits = take_number(text);
    if (!digits || before - text.size() > 9) return std::nullopt;  // 10^9 * 2^30 fits in 64 bits
    fraction = *digits;
    for (std::size_t i = text.size(); i < before; ++i) scale *= 10;
  }
  const auto unit = unit_of(text);
  if (!unit || (has_fraction && *unit == 1)) return std::nullopt;  // there is no half byte
  Bytes size = 0;
  if (__builtin_mul_overflow(*whole, *unit, &size)) return std::nullopt;
  if (__builtin_add_overflow(size, fraction * *unit / scale, &size)) return std::nullopt;
  return size;
}

void append_json_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  std::size_t plain = 0;  // where the run of bytes that need no escape begins
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    out += text.substr(plain, i - plain);
    plain = i + 1;
    out += '\\';
    switch (byte) {
      case '"': out += '"'; break;
      case '\\': out += '\\'; break;
      case '\n': out += 'n'; break;
      case '\r': out += 'r'; break;
      case '\t': out += 't'; break;
      case '\b': out += 'b'; break;
      case '\f': out += 'f'; break;
      default:
        out += "u00";
        out += kHex[byte >> 4];
        out += kHex[byte & 15];
    }
  }
  out += text.substr(plain);
  out += '"';
}

std::string json_quote(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  append_json_quoted(out, text);
  return out;
}

}  // namespace coderunner
