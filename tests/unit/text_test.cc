// Role: text.h against Python's own answers, and against the RFCs' tables.
// Law: the corpus is the same in every run.
#include "common/text.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/support/run_python.h"

namespace coderunner {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

// ---- lists of byte strings, as Python's side reads and writes them: a u32 length and the bytes of each

void append_item(std::string& list, std::string_view item) {
  const auto size = static_cast<std::uint32_t>(item.size());
  list.append(reinterpret_cast<const char*>(&size), sizeof size).append(item);
}

std::vector<std::string> split_items(std::string_view list) {
  std::vector<std::string> items;
  while (list.size() >= sizeof(std::uint32_t)) {
    std::uint32_t size = 0;
    std::memcpy(&size, list.data(), sizeof size);
    items.emplace_back(list.substr(sizeof size, size));
    list.remove_prefix(sizeof size + items.back().size());
  }
  return items;
}

const std::string kPythonItems = R"(
import base64, codecs, json, struct, sys
def items():
    data, at = sys.stdin.buffer.read(), 0
    while at < len(data):
        size, = struct.unpack_from("<I", data, at)
        yield data[at + 4:at + 4 + size]
        at += 4 + size
out = bytearray()
def put(item):
    global out
    out += struct.pack("<I", len(item)) + item
)";

// What Python's script answers for each item of the corpus, `answers` items each.
std::vector<std::string> ask_python(const std::string& body, const std::vector<std::string>& corpus,
                                    std::size_t answers) {
  std::string input;
  for (const std::string& item : corpus) append_item(input, item);
  const auto output = test::run_python(kPythonItems + body + "\nsys.stdout.buffer.write(out)\n", input);
  REQUIRE_MESSAGE(output.has_value(), output.error().message);
  auto items = split_items(*output);
  REQUIRE(items.size() == answers * corpus.size());
  return items;
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x} ", static_cast<unsigned char>(byte));
  return hex;
}

// ---- the corpus

// Bytes at which a rule of UTF-8 begins or ends.
constexpr std::string_view kEdges =
    "\x00\x41\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xF7\xF8\xFF"sv;
constexpr std::string_view kLeads = "\x41\x80\xC2\xE0\xED\xEF\xF0\xF1\xF3\xF4\xF5\xFF"sv;

void append_products(std::vector<std::string>& corpus, std::initializer_list<std::string_view> places) {
  std::vector<std::string> made = {""};
  for (const std::string_view place : places) {
    std::vector<std::string> longer;
    for (const std::string& start : made) {
      for (const char byte : place) longer.push_back(start + byte);
    }
    made = std::move(longer);
  }
  corpus.insert(corpus.end(), made.begin(), made.end());
}

std::string make_random(std::mt19937& random, std::size_t longest) {
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  std::string text;
  const std::size_t length = below(longest + 1);
  while (text.size() < length) {
    switch (below(6)) {
      case 0: text += static_cast<char>(below(256)); break;
      case 1: text += static_cast<char>(0x80 + below(64)); break;
      case 2: text += kEdges[below(kEdges.size())]; break;
      case 3: text += std::string(below(20), static_cast<char>('a' + below(26))); break;
      case 4: text += "\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA9"sv.substr(below(9), 1 + below(9)); break;
      default: text += static_cast<char>(0xC0 + below(64));
    }
  }
  return text;
}

std::vector<std::string> make_corpus() {
  std::vector<std::string> corpus = {""};
  std::string any;
  for (int byte = 0; byte < 256; ++byte) any += static_cast<char>(byte);
  append_products(corpus, {any});
  append_products(corpus, {any, any});
  append_products(corpus, {kEdges, kEdges, kEdges});
  append_products(corpus, {std::string_view(any).substr(0xE0, 0x18), any, "\x41\x7F\x80\xBF\xC0\xE0"});
  append_products(corpus, {kLeads, kEdges, kEdges, kEdges});
  append_products(corpus, {"\xE2\xF0\xF4", "\x82\x8F\x90", "\x80\xBF\xC0", "\x80\x41\xF0", "\x80\x9F"});
  std::mt19937 random(20240229);
  for (int i = 0; i < 8000; ++i) corpus.push_back(make_random(random, 64));
  return corpus;
}

TEST_CASE("UTF-8 is decoded, checked and cut as Python does it") {
  const std::vector<std::string> corpus = make_corpus();
  const auto answers = ask_python(R"(
for item in items():
    put(item.decode("utf-8", "replace").encode("utf-8"))
    try:
        item.decode("utf-8")
        put(b"1")
    except UnicodeDecodeError:
        put(b"0")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(item)
    rest = decoder.getstate()[0]
    if rest[:1] == b"\xed" and rest[1:] >= b"\xa0":
        rest = b""  # half a surrogate, which Python keeps for errors="surrogatepass": ill-formed whatever follows
    put(item[:len(item) - len(rest)])
)", corpus, 3);
  std::size_t different = 0;
  for (std::size_t i = 0; i < corpus.size() && different < 10; ++i) {
    const std::string& item = corpus[i];
    if (decode_utf8_replace(item) == answers[3 * i] && is_utf8(item) == (answers[3 * i + 1] == "1") &&
        drop_incomplete_utf8(item) == answers[3 * i + 2]) {
      continue;
    }
    ++different;
    FAIL_CHECK("of " << to_hex(item) << "ours is " << to_hex(decode_utf8_replace(item)) << is_utf8(item) << " "
                     << drop_incomplete_utf8(item).size() << ", Python's is " << to_hex(answers[3 * i])
                     << answers[3 * i + 1] << " " << answers[3 * i + 2].size());
  }
}

TEST_CASE("each maximal ill-formed subpart becomes one U+FFFD") {
  struct Row {
    std::string bytes;
    std::string_view text;
  };
  // The first is the example of the Unicode standard (3.9, table 3-8).
  const Row rows[] = {
      {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},   // a surrogate
      {"\xC0\xAF", "\uFFFD\uFFFD"},             // an overlong '/'
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"eight bytes\xFFthen more", "eight bytes\uFFFDthen more"},
      {"\xEF\xBF\xBF\xF4\x8F\xBF\xBF", "\uFFFF\U0010FFFF"},
      {"", ""},
  };
  for (const Row& row : rows) CHECK(decode_utf8_replace(row.bytes) == row.text);
}

TEST_CASE("a stream that is cut at character borders decodes to the whole's text") {
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    const std::string whole = make_random(random, 40);
    const std::string text = decode_utf8_replace(whole);
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      const std::string_view first = drop_incomplete_utf8(std::string_view(whole).substr(0, cut));
      REQUIRE(cut - first.size() <= 3);
      const std::string both =
          decode_utf8_replace(first) + decode_utf8_replace(std::string_view(whole).substr(first.size()));
      if (both != text) FAIL_CHECK(to_hex(whole) << "cut at " << cut);
    }
  }
}

// ---- base64

TEST_CASE("base64 has the vectors of RFC 4648, section 10") {
  const std::pair<std::string, std::string> rows[] = {{"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},  {"foob", "Zm9vYg=="},  {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"}, {"\xFB\xEF\xBE", "++++"},
                                                      {"\xFF\xFF\xFF", "////"}};
  for (const auto& [bytes, text] : rows) {
    CHECK(encode_base64(bytes) == text);
    CHECK(decode_base64(text) == bytes);
    CHECK(decoded_base64_bytes(text) == bytes.size());
  }
}

TEST_CASE("base64 is the same both ways, and Python's") {
  std::vector<std::string> corpus;
  std::mt19937 random(11);
  for (std::size_t length = 0; length < 300; ++length) {
    std::string bytes;
    while (bytes.size() < length) bytes += static_cast<char>(random());
    corpus.push_back(bytes);
  }
  const auto answers = ask_python("for item in items(): put(base64.b64encode(item))", corpus, 1);
  for (std::size_t i = 0; i < corpus.size(); ++i) {
    CHECK(encode_base64(corpus[i]) == answers[i]);
    CHECK(decode_base64(answers[i]) == corpus[i]);
    CHECK(decoded_base64_bytes(answers[i]) == corpus[i].size());
  }
}

TEST_CASE("base64 that is not exact is refused") {
  const std::string rows[] = {
      "A",        "AA",        "AAA",       "AAAAA",     "AA=",      "A=",                // cut short
      "=",        "==",        "===",       "====",      "A===",     "=AAA",  "A=AA",  "AA=A",  // padding out of place
      "AA==AAAA", "AAA=AAAA",  "AAAA====",  "AAAAA===",  "AA==AA==",                       // padding before the end
      "AB==",     "A/==",      "AAB=",      "AA/=",                                        // stray bits
      " AAAA",    "AAAA\n",    "AA\nAA",    "AA A",      "AAAA\r\n", "A\tAA", "AAAA    ",    // white space
      "AA-_",     "AAA.",      "AAA\xC3",   "AAA\0"s,    "\0\0\0\0"s, "AA\0="s,              // not of the alphabet
  };
  for (const std::string& text : rows) {
    CAPTURE(text);
    CHECK(decode_base64(text) == std::nullopt);
  }
}

TEST_CASE("no byte outside the alphabet is taken, in any place") {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t place = 0; place < 4; ++place) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text = "AAAAAAAA";
      text[place] = static_cast<char>(byte);
      CHECK(decode_base64(text).has_value() == (kAlphabet.find(static_cast<char>(byte)) != kAlphabet.npos));
    }
  }
}

TEST_CASE("every group that is taken is the one that encoding yields") {
  constexpr std::string_view kSome = "ABCEGQgw/+8=\n-_"sv;
  for (const char a : kSome) for (const char b : kSome) for (const char c : kSome) for (const char d : kSome) {
    const std::string text = {a, b, c, d};
    const auto bytes = decode_base64(text);
    if (bytes && encode_base64(*bytes) != text) FAIL_CHECK(text);
    if (bytes && decoded_base64_bytes(text) != bytes->size()) FAIL_CHECK(text);
  }
}

// ---- sizes

TEST_CASE("a size is digits, perhaps a fraction, and a suffix") {
  const std::pair<std::string_view, std::optional<Bytes>> rows[] = {
      {"0", 0}, {"1000", 1000}, {"007", 7}, {"18446744073709551615", UINT64_MAX},
      {"1K", 1024}, {"1KB", 1024}, {"1KiB", 1024}, {"64KiB", 65536}, {"256M", 268435456}, {"1MiB", 1048576},
      {"1G", 1073741824}, {"1GB", 1073741824}, {"2GiB", 2147483648},
      {"1.5G", 1610612736}, {"0.5K", 512}, {"1.0M", 1048576},
      {"0.1K", 102}, {"1.000000001G", 1073741825}, {"0.999999999G", 1073741822}, {"17179869183G", 17179869183 * kGiB},
      {"17179869183.999999999G", UINT64_MAX - 1},
      {"", {}}, {"K", {}}, {".5K", {}}, {"1.K", {}}, {"1.5", {}}, {"1.0", {}}, {"1.5.5K", {}}, {"1.0000000001G", {}},
      {"-1", {}}, {"+1", {}}, {" 1", {}}, {"1 ", {}}, {"1 K", {}}, {"1_000", {}}, {"1,5G", {}}, {"0x10", {}},
      {"1e3", {}},
      {"1B", {}}, {"1iB", {}}, {"1T", {}}, {"1k", {}}, {"1Kb", {}}, {"1Ki", {}}, {"1KiBs", {}},
      {"1KK", {}}, {"inf", {}},
      {"18446744073709551616", {}}, {"99999999999999999999", {}}, {"17179869184G", {}}, {"18014398509481984K", {}},
      {"1\0"sv, {}}, {"1K\0"sv, {}}};
  for (const auto& [text, size] : rows) {
    CAPTURE(text);
    CHECK(parse_size(text) == size);
  }
}

// ---- JSON

TEST_CASE("a JSON string escapes what it must and nothing else") {
  const std::pair<std::string, std::string> rows[] = {
      {"", R"("")"},
      {"plain", R"("plain")"},
      {"\"\\/", R"("\"\\/")"},
      {"\n\r\t\b\f", R"("\n\r\t\b\f")"},
      {"\0\x01\x0B\x1F\x7F"s, "\"\\u0000\\u0001\\u000b\\u001f\x7F\""},
      {"h\u00e9 \u20ac \U0001F600 \u2028", "\"h\u00e9 \u20ac \U0001F600 \u2028\""},
      {"a\nb\"c", R"("a\nb\"c")"},
  };
  for (const auto& [text, quoted] : rows) CHECK(json_quote(text) == quoted);
  std::string out = "{";
  append_json_quoted(out, "k");
  CHECK(out == "{\"k\"");
}

TEST_CASE("Python reads every quoted string as it was") {
  std::vector<std::string> texts, quoted;
  for (int byte = 0; byte < 128; ++byte) texts.push_back(std::string(1, static_cast<char>(byte)) + "x");
  std::mt19937 random(13);
  for (int i = 0; i < 3000; ++i) {
    std::string text = make_random(random, 40);
    for (char& byte : text) {
      if (random() % 8 == 0) byte = "\"\\\n\r\t\b\f\x01\x1F/\0"[random() % 11];
    }
    texts.push_back(decode_utf8_replace(text));
  }
  for (const std::string& text : texts) quoted.push_back(json_quote(text));
  const auto answers = ask_python("for item in items(): put(json.loads(item).encode('utf-8'))", quoted, 1);
  for (std::size_t i = 0; i < texts.size(); ++i) CHECK(answers[i] == texts[i]);
}

}  // namespace
}  // namespace coderunner
