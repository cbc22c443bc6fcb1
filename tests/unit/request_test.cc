// Role: the rules of POST /api/run's body as a whole: JSON, modes, types, timeouts, messages.
// Law: a row that is refused names words of its message; a row that is accepted says what came of it elsewhere.
#include "supervisor/request.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/support/request_rows.h"

namespace coderunner::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

Result<RunRequest> parse_raw(std::string_view body, std::string_view content_type = "text/plain") {
  return parse_request({.content_type = content_type, .timeout_param = {}, .body = body}, Limits{});
}
Result<RunRequest> parse_raw_timeout(std::string_view value) {
  return parse_request(
      {.content_type = "text/plain", .timeout_param = value, .has_timeout_param = true, .body = "pass"}, Limits{});
}
TEST_CASE("what is not one JSON object is refused") {
  check_rows({
      {"", kRefused, {"body", "empty"}},
      {" \n", kRefused, {"body", "empty"}},
      {"\xEF\xBB\xBF", kRefused, {"body", "empty"}},
      {"[]", kRefused, {"body", "JSON object"}},
      {"\"script\"", kRefused, {"body", "JSON object"}},
      {"1", kRefused, {"body", "JSON object"}},
      {"null", kRefused, {"body", "JSON object"}},
      {text_of('[', 100'000), kRefused, {"body"}},
      {"print('no JSON')", kRefused, {"body"}},
      {"{", kRefused, {"body", "JSON"}},
      {"}", kRefused, {"body"}},
      {"{}}", kRefused, {"body"}},
      {R"({"script": "pass")", kRefused, {"body", "JSON"}},
      {R"({"script": "pass",})", kRefused, {"body", "JSON"}},
      {R"({"script": "pass"} x)", kRefused, {"body", "JSON"}},
      {R"({"script": "pass"} })", kRefused, {"body", "JSON", "follows"}},
      {R"({"script": "pass"}{"script": "pass"})", kRefused, {"body", "JSON", "follows"}},
      {R"({"script": "pass")" + "\0}"s, kRefused, {"body", "JSON"}},
      {R"({"script": pass})", kRefused, {"body", "JSON"}},
      {R"({"script" "pass"})", kRefused, {"body", "JSON"}},
      {R"({"script": "pass" "detail": true})", kRefused, {"body", "JSON"}},
      {R"({script: "pass"})", kRefused, {"body", "JSON"}},
      {R"({'script': 'pass'})", kRefused, {"body", "JSON"}},
      {R"({"script": })", kRefused, {"body", "JSON"}},
      {"{\"script\": \"pa\nss\"}", kRefused, {"body", "JSON"}},
      {R"({"script": "\x"})", kRefused, {"body", "JSON"}},
      {R"({"script": "\u12g4"})", kRefused, {"body", "JSON"}},
      {"{\"script\": \"\xff\"}", kRefused, {"body", "UTF-8"}},
      {"{\"script\": \"\xed\xa0\x80\"}", kRefused, {"body", "UTF-8"}},
      {"{\"\xc3\": 1}", kRefused, {"body", "UTF-8"}},
  });
}

TEST_CASE("half a surrogate pair is refused wherever it stands") {
  for (const std::string_view half :
       {R"(\ud800)", R"(\udbffx)", R"(\udc00)", R"(\udfff)", R"(\udc00\ud800)", R"(\ud800\ud800)", R"(\ud800\u0041)"}) {
    for (const std::string_view body :
         {R"({{"script": "{}"}})", R"({{"script": "", "ignored": "{}"}})", R"({{"script": "", "{}": 1}})",
          R"({{"script": "", "context": {{"{}": ""}}}})"}) {
      const std::string text = fmt::format(fmt::runtime(body), half);
      CAPTURE(text);
      check_outcome(parse_json(text), kRefused, {"body", "JSON"});
    }
  }
  const auto pair = parse_json(R"({"script": "\ud83d\ude00\u00e9\\\"\n"})");
  REQUIRE(pair);
  CHECK(pair->files[0].content == "\xF0\x9F\x98\x80\xC3\xA9\\\"\n");
}

TEST_CASE("ignored fields are checked, and ignored") {
  const auto nested = [](std::size_t depth) { return with("\"a\": " + text_of('[', depth) + text_of(']', depth)); };
  check_rows({
      {with(R"("a": [1, -0, 0.5, 1e5, -1.25E-3, 1e999, 99999999999999999999, true, false, null, "x", {"b": {}}])")},
      {with(R"("": 1, "Script": 2, "script ": 3)")},
      {nested(64)},
      {nested(65), kRefused, {"body", "deep", "64"}},
      {nested(100'000), kRefused, {"body", "deep"}},
      {with(R"("a": nul)"), kRefused, {"body", "JSON", "true, false"}},
      {with(R"("a": nulll)"), kRefused, {"body", "JSON"}},
      {with(R"("a": tru)"), kRefused, {"body", "JSON"}},
      {with(R"("a": 01)"), kRefused, {"body", "JSON"}},
      {with(R"("a": 1.)"), kRefused, {"body", "JSON"}},
      {with(R"("a": .5)"), kRefused, {"body", "JSON"}},
      {with(R"("a": +1)"), kRefused, {"body", "JSON"}},
      {with(R"("a": -)"), kRefused, {"body", "JSON"}},
      {with(R"("a": 1e)"), kRefused, {"body", "JSON"}},
      {with(R"("a": 1 2)"), kRefused, {"body", "JSON"}},
      {with(R"("a": 0x10)"), kRefused, {"body", "JSON"}},
      {with(R"("a": NaN)"), kRefused, {"body", "JSON"}},
      {with(R"("a": Infinity)"), kRefused, {"body", "JSON"}},
      {with(R"("a": [1, 2})"), kRefused, {"body", "JSON"}},
      {with(R"("a": [1, 2}, "b": {]])"), kRefused, {"body", "JSON"}},
      {with(R"("a": [1,])"), kRefused, {"body", "JSON"}},
      {with(R"("a": {"b"})"), kRefused, {"body", "JSON"}},
      {with(R"("a": "\q")"), kRefused, {"body", "JSON"}},
  });
}

TEST_CASE("a known field given twice is refused, an unknown one is not") {
  check_rows({
      {R"({"script": "a", "script": "b"})", kRefused, {"script", "twice"}},
      {R"({"script": "a", "scr\u0069pt": "b"})", kRefused, {"script", "twice"}},
      {R"({"script": null, "script": "b"})", kRefused, {"script", "twice"}},
      {with(R"("detail": true, "detail": true)"), kRefused, {"detail", "twice"}},
      {with(R"("x": 1, "x": 2)")},
  });
}

TEST_CASE("a byte order mark before the object is no part of it") {
  CHECK(parse_json("\xEF\xBB\xBF{\"script\": \"pass\"}"));
}

TEST_CASE("the content type chooses the mode") {
  struct TypeRow {
    std::string_view type;
    RequestMode mode;
  };
  constexpr auto kBody = R"({"script": "pass"})"sv;
  for (const TypeRow& row : std::initializer_list<TypeRow>{
           {"text/plain", RequestMode::kRaw},
           {"text/plain; charset=utf-8", RequestMode::kRaw},
           {"Text/PLAIN", RequestMode::kRaw},
           {"", RequestMode::kScript},
           {"text/plai", RequestMode::kScript},
           {"text/html", RequestMode::kScript},
           {"application/json", RequestMode::kScript},
           {"application/x-www-form-urlencoded", RequestMode::kScript},
       }) {
    CAPTURE(row.type);
    const auto request = parse_raw(kBody, row.type);
    REQUIRE(request);
    CHECK(request->mode == row.mode);
    CHECK(request->files[0].content == (row.mode == RequestMode::kRaw ? kBody : "pass"));
  }
}

TEST_CASE("a raw body is the script") {
  const Limits limits;
  const auto request = parse_raw("print(1)\n");
  REQUIRE(request);
  REQUIRE(request->files.size() == 1);
  CHECK(request->files[0].path == "script.py");
  CHECK(request->files[0].content == "print(1)\n");
  CHECK_FALSE(request->files[0].read_only);
  CHECK(request->job.entry_point == "script.py");
  CHECK(request->job.timeout_ms == 60'000);
  CHECK_FALSE(request->job.nested_artifacts);
  CHECK(parse_raw("a\0b"sv)->files[0].content == "a\0b"sv);

  check_outcome(parse_raw(""), kRefused, {"script", "required"});
  for (const auto bytes : {"\xff"sv, "# \xc3\x28"sv, "\xed\xa0\x80"sv, "# \xc3"sv}) {
    check_outcome(parse_raw(bytes), kRefused, {"script", "UTF-8"});
  }
  check_outcome(parse_raw(text_of('#', limits.script_bytes)), kAccepted, {});
  check_outcome(parse_raw(text_of('#', limits.script_bytes + 1)), kTooLarge, {"script", "262144"});
}

// Seconds, or 0 for a refusal.
std::uint64_t seconds_of(const Result<RunRequest>& result) {
  if (result) return result->job.timeout_ms / 1000;
  CHECK(result.error().fault == kRefused);
  CHECK(result.error().message.starts_with("timeout_s: "));
  return 0;
}

TEST_CASE("timeout_s is a number of seconds, clamped") {
  struct TimeoutRow {
    std::string_view json;
    std::uint64_t seconds;  // 0: refused
  };
  for (const TimeoutRow& row : std::initializer_list<TimeoutRow>{
           {"null", 60},    {"1", 1},       {"7", 7},         {"299", 299},     {"300", 300},     {"301", 300},
           {"0", 0},        {"-0", 0},      {"-1", 0},        {"0.5", 0},       {"0.999", 0},     {"-0.5", 0},
           {"1.0", 1},      {"1.999", 1},   {"299.9", 299},   {"300.9", 300},   {"1e2", 100},     {"1E+2", 100},
           {"1e-1", 0},     {"1e300", 300}, {"-1e300", 0},    {"1e999", 300},   {"-1e999", 0},    {"1e-999", 0},
           {"99999999999999999999", 300},   {"-99999999999999999999", 0},       {"18446744073709551616", 300},
           {"true", 0},     {"false", 0},   {"[]", 0},        {"{}", 0},        {"[5]", 0},
           {"\"7\"", 7},    {"\"+7\"", 7},  {"\" 7\\n\"", 7}, {"\"007\"", 7},   {"\"301\"", 300}, {"\"0\"", 0},
           {"\"-5\"", 0},   {"\"\"", 0},    {"\" \"", 0},     {"\"+\"", 0},     {"\"-\"", 0},     {"\"1 2\"", 0},
           {"\"1.5\"", 0},  {"\"1e2\"", 0}, {"\"ten\"", 0},   {"\"0x10\"", 0},  {"\"+ 5\"", 0},   {"\"++5\"", 0},
           {"\"99999999999999999999\"", 300}, {"\"-99999999999999999999\"", 0}, {"\"1\\u00002\"", 0},
           {"\"\\u0665\"", 0},
       }) {
    CAPTURE(row.json);
    CHECK(seconds_of(parse_json(with(fmt::format("\"timeout_s\": {}", row.json)))) == row.seconds);
  }
  check_rows({{with("\"timeout_s\": 5x"), kRefused, {"body", "JSON"}},
              {with("\"timeout_s\": 05"), kRefused, {"body", "JSON"}},
              {with("\"timeout_s\": nope"), kRefused, {"body", "JSON"}}});
}

TEST_CASE("timeout_s of a raw request follows the rules of text") {
  struct TimeoutRow {
    std::string_view value;
    std::uint64_t seconds;
  };
  for (const TimeoutRow& row : std::initializer_list<TimeoutRow>{
           {"7", 7}, {" 7", 7}, {"+7", 7}, {"301", 300}, {"0", 0}, {"-1", 0}, {"", 0}, {"ten", 0}, {"1e3", 0},
           {"1\0002"sv, 0}}) {
    CAPTURE(row.value);
    CHECK(seconds_of(parse_raw_timeout(row.value)) == row.seconds);
  }
}

TEST_CASE("the default and the highest timeout are the limits'") {
  Limits limits;
  limits.max_timeout_s = 10;
  limits.default_timeout_s = 4;
  CHECK(parse_json(R"({"script": ""})", limits)->job.timeout_ms == 4'000);
  CHECK(parse_json(R"({"script": "", "timeout_s": 11})", limits)->job.timeout_ms == 10'000);
}

TEST_CASE("fields that exclude or need each other") {
  check_rows({
      {"{}", kRefused, {"script", "required"}},
      {R"({"script": null})", kRefused, {"script", "required"}},
      {R"({"entry_point": "m.py"})", kRefused, {"script", "required"}},
      {R"({"context": {"a": ""}})", kRefused, {"script", "required"}},
      {R"({"script": ""})"},
      {R"({"script": "", "files": {"m.py": ""}, "entry_point": "m.py"})", kRefused, {"script", "files"}},
      {R"({"script": "", "files": {}})", kRefused, {"script", "files"}},
      {R"({"files": {"m.py": ""}, "entry_point": "m.py", "context": {"a": ""}})", kRefused, {"context", "files"}},
      {R"({"files": {"m.py": ""}, "entry_point": "m.py", "context": {}, "script": null})"},
      {R"({"files": {}, "entry_point": "m.py"})", kRefused, {"files", "at least one"}},
      {R"({"files": {"m.py": ""}})", kRefused, {"entry_point", "required"}},
      {R"({"files": {"m.py": ""}, "entry_point": null})", kRefused, {"entry_point", "required"}},
      {R"({"script": "", "entry_point": "x"})"},
      {with(R"("timeout_s": null, "context": null, "files": null, "entry_point": null, "stdin": null, "args": null,
               "env": null, "dependencies": null, "detail": null)")},
  });
}

TEST_CASE("each field has its type") {
  check_rows({
      {R"({"script": 1})", kRefused, {"script: must be a string"}},
      {R"({"script": ["pass"]})", kRefused, {"script"}},
      {R"({"script": {"content": "pass"}})", kRefused, {"script"}},
      {with(R"("context": [])"), kRefused, {"context"}},
      {with(R"("context": "a")"), kRefused, {"context"}},
      {R"({"files": [], "entry_point": "m.py"})", kRefused, {"files"}},
      {R"({"files": {"m.py": ""}, "entry_point": 1})", kRefused, {"entry_point"}},
      {with(R"("stdin": 1)"), kRefused, {"stdin"}},
      {with(R"("stdin": ["x"])"), kRefused, {"stdin"}},
      {with(R"("args": "a")"), kRefused, {"args"}},
      {with(R"("args": {"a": "b"})"), kRefused, {"args"}},
      {with(R"("args": ["a", 1])"), kRefused, {"args[1]: must be a string"}},
      {with(R"("args": [null])"), kRefused, {"args[0]"}},
      {with(R"("env": [])"), kRefused, {"env"}},
      {with(R"("env": {"A": 1})"), kRefused, {"env[\"A\"]: must be a string"}},
      {with(R"("env": {"A": null})"), kRefused, {"env[\"A\"]"}},
      {with(R"("detail": 1)"), kRefused, {"detail"}},
      {with(R"("detail": "true")"), kRefused, {"detail"}},
      {with(R"("detail": tru)"), kRefused, {"body", "JSON"}},
      {with(R"("dependencies": "numpy")"), kRefused, {"dependencies"}},
      {with(R"("dependencies": [1])"), kRefused, {"dependencies[0]"}},
      {with(R"("dependencies": ["numpy"])"), kRefused, {"dependencies: not available yet"}},
      {with(R"("dependencies": [])")},
  });
}

TEST_CASE("fields may come in any order") {
  const auto request = parse_json(R"({"stdin": "in", "context": {"a": "1"}, "x": [], "detail": true, "script": ""})");
  REQUIRE(request);
  CHECK(request->files[0].path == "script.py");
  CHECK(request->files[1].path == "input/a");
  CHECK(request->stdin_bytes == "in");
  CHECK(parse_json(R"({"entry_point": "m.py", "files": {"m.py": ""}})"));
}

TEST_CASE("a message shows a name shortened and escaped, and never a content") {
  const auto long_name = parse_json(with(fmt::format("\"context\": {{\".{}\": \"SECRET\"}}",
                                                     list_of(100, [](std::size_t) { return "é"s; }))));
  check_outcome(long_name, kRefused, {"context[\".é", "…\"]"});
  CHECK(long_name.error().message.size() < 170);
  for (const std::string_view members :
       {R"("context": {"a\n\"/": "SECRET"})", R"("stdin": {"content": "SECRET", "encoding": "x"})",
        R"("stdin": {"content": "SECRET", "encoding": "base64"})", R"("args": ["SECRET\u0000"])",
        R"("env": {"A": "SECRET\u0000"})", R"("timeout_s": "SECRET")"}) {
    const auto result = parse_json(with(members));
    check_outcome(result, kRefused, {});
    CHECK(result.error().message.find("SECRET") == std::string::npos);
  }
}

}  // namespace
}  // namespace coderunner::test
