// Role: bytes to text and back: UTF-8 as Python decodes it, base64, UTF-8 checks.
// Callers: request.cc, reply_json.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/units.h"

namespace coderunner {

// bytes.decode("utf-8", "replace") to the letter: each maximal ill-formed subpart becomes one U+FFFD
// (Unicode 15, 3.9, "U+FFFD Substitution of Maximal Subparts"; CPython Objects/stringlib/codecs.h).
std::string decode_utf8_replace(std::string_view bytes);
bool is_utf8(std::string_view bytes);  // well-formed: no surrogates, no overlong forms, at most U+10FFFF
// The longest prefix that ends at a character border: drops an incomplete character at the end, if any; up to 3 bytes.
std::string_view drop_incomplete_utf8(std::string_view bytes);

std::string encode_base64(std::string_view bytes);  // RFC 4648 section 4, padded
// Strict: padding required, no white space, no stray bits; nullopt otherwise.
std::optional<std::string> decode_base64(std::string_view text);
// What decode_base64 would yield, from the length and padding alone: to check a limit before allocating.
std::size_t decoded_base64_bytes(std::string_view text);

// "256M", "64KiB", "1.5G", "1000": a size; suffixes K, M, G (with or without iB/B) are powers of 1024. nullopt: not a
// size.
std::optional<Bytes> parse_size(std::string_view text);

// JSON string literal with its quotes; the input must be UTF-8.
std::string json_quote(std::string_view text);
void append_json_quoted(std::string& out, std::string_view text);

}  // namespace coderunner
