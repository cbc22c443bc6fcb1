// Role: rows of POST /api/run's body and what becomes of each, for tables of its rules.
// Callers: the tests of request.h.
// Law: a refusal is one short line of UTF-8, whatever was refused.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/text.h"
#include "supervisor/request.h"

namespace coderunner::test {

inline constexpr Fault kAccepted = Fault::kInternal;  // not refused; never a fault of a request
inline constexpr Fault kRefused = Fault::kClient;
inline constexpr Fault kTooLarge = Fault::kTooLarge;

inline std::string text_of(char c, std::size_t count) { return std::string(count, c); }

// `item(i)` for i below count, with commas.
inline std::string list_of(std::size_t count, const std::function<std::string(std::size_t)>& item) {
  std::string list;
  for (std::size_t i = 0; i < count; ++i) list += (i > 0 ? "," : "") + item(i);
  return list;
}
inline Result<RunRequest> parse_json(std::string_view body, const Limits& limits = {}) {
  return parse_request({.content_type = "application/json", .timeout_param = {}, .body = body}, limits);
}
// A script with these members besides.
inline std::string with(std::string_view members) { return fmt::format(R"({{"script": "pass", {}}})", members); }
// A project of one script and these files.
inline std::string project(std::string_view files, std::string_view entry = "m.py") {
  const std::string_view comma = files.empty() ? "" : ", ";
  return fmt::format(R"({{"files": {{"m.py": "pass"{}{}}}, "entry_point": "{}"}})", comma, files, entry);
}

struct Row {
  std::string body;
  Fault fault = kAccepted;
  std::vector<std::string_view> words = {};  // of the message
};

inline void check_outcome(const Result<RunRequest>& result, Fault fault, const std::vector<std::string_view>& words) {
  if (fault == kAccepted) {
    CHECK_MESSAGE(result.has_value(), (result ? std::string() : result.error().message));
    return;
  }
  REQUIRE_FALSE(result.has_value());
  const std::string& message = result.error().message;
  CAPTURE(message);
  CHECK(result.error().fault == fault);
  CHECK(message.find('\n') == message.npos);
  CHECK(message.size() < 500);
  CHECK(is_utf8(message));
  for (const std::string_view word : words) {
    CAPTURE(word);
    CHECK(message.find(word) != message.npos);
  }
}

inline void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    CAPTURE(row.body.substr(0, 200));
    check_outcome(parse_json(row.body), row.fault, row.words);
  }
}

}  // namespace coderunner::test
