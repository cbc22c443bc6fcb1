// Role: output in pieces decodes as it would in one.
#include "supervisor/output_text.h"

#include <doctest/doctest.h>

#include "common/text.h"

namespace coderunner {
namespace {

constexpr std::string_view kReplaced = "\xEF\xBF\xBD";

TEST_CASE("however bytes are cut, the text is what Python makes of the whole, and no piece ends in half a character") {
  const std::string_view rows[] = {
      "plain", "gr\xC3\xBC\xC3\x9F", "\xE2\x82\xAC\xF0\x9F\x98\x80!", "\xFF\xFE", "a\xE2\x82", "a\xE2\x82z",
      "\xF0\x9F\xE2\x82\xAC", "\xED\xA0\x80", "\xF0\x9F\x98", "\xC3\xC3\xBC",
  };
  for (const std::string_view bytes : rows) {
    CAPTURE(decode_utf8_replace(bytes));
    for (std::size_t step = 1; step <= bytes.size(); ++step) {
      OutputDecoder decoder(1000);
      std::string text;
      for (std::size_t at = 0; at < bytes.size(); at += step) {
        const std::string piece = decoder.feed(bytes.substr(at, step));
        CHECK(is_utf8(piece));
        text += piece;
      }
      text += decoder.finish(false);
      CHECK(text == decode_utf8_replace(bytes));
      CHECK(decoder.bytes() == bytes.size());
    }
  }
}

TEST_CASE("a character that the limit has split is dropped, one that the script has left incomplete is not") {
  for (const std::size_t step : {1, 2, 3, 8}) {
    CAPTURE(step);
    const auto decode = [&](std::string_view bytes, bool truncated) {
      OutputDecoder decoder(4);
      std::string text;
      for (std::size_t at = 0; at < bytes.size(); at += step) text += decoder.feed(bytes.substr(at, step));
      return text + decoder.finish(truncated);
    };
    CHECK(decode("abc\xC3", true) == "abc");
    CHECK(decode("abc\xC3", false) == "abc" + std::string(kReplaced));
    CHECK(decode("abcd", true) == "abcd");
    // Behind the limit comes the stack of a script that timed out.
    CHECK(decode("abc\xC3stack", true) == "abcstack");
    CHECK(decode("abcdstack", false) == "abcdstack");
    CHECK(decode("abcdstack\xC3", true) == "abcdstack" + std::string(kReplaced));
  }
}

TEST_CASE("notes go by verdict and by what was truncated") {
  Limits limits;
  limits.stdout_bytes = limits.stderr_bytes = 10;
  ExitReport report;
  report.exit_code = 124;
  report.verdict = Verdict::kError;
  CHECK(format_notes(report, limits).empty());
  report.verdict = Verdict::kTimeout;
  report.stdout_bytes = report.stderr_bytes = 11;
  CHECK(format_notes(report, limits) ==
        "\n[Error: Script timed out]\n[Truncated: stdout exceeded 10 bytes]\n[Truncated: stderr exceeded 10 bytes]");
}

}  // namespace
}  // namespace coderunner
