// Role: the rules for files, names, paths, arguments and variables of POST /api/run, with both sides of every limit.
// Law: a row that is refused names words of its message; a row that is accepted says what came of it elsewhere.
#include "supervisor/request.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/support/request_rows.h"

namespace coderunner::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

// A JSON string of `count` letters.
std::string json_of(std::size_t count) { return '"' + text_of('x', count) + '"'; }
std::string base64_of(std::size_t count) {
  return fmt::format(R"({{"content": "{}", "encoding": "base64"}})", encode_base64(text_of('\0', count)));
}

std::string members_of(std::size_t count, std::string_view prefix, std::string_view value) {
  return '{' + list_of(count, [&](std::size_t i) { return fmt::format("\"{}{}\": {}", prefix, i, value); }) + '}';
}

TEST_CASE("a file is a string, or an object with content and encoding") {
  check_rows({
      {with(R"("context": {"a.csv": {"content": "x"}})")},
      {with(R"("context": {"a.csv": {"content": "x", "encoding": null, "mode": [1]}})")},
      {with(R"("context": {"a.csv": {"encoding": "base64", "content": "YQ=="}})")},
      {with(R"("context": {"a.csv": 1})"), kRefused, {"context[\"a.csv\"]: must be"}},
      {with(R"("context": {"a.csv": null})"), kRefused, {"context[\"a.csv\"]"}},
      {with(R"("context": {"a.csv": ["x"]})"), kRefused, {"context[\"a.csv\"]"}},
      {with(R"("context": {"a.csv": {}})"), kRefused, {"context[\"a.csv\"]", "content"}},
      {with(R"("context": {"a.csv": {"content": null}})"), kRefused, {"context[\"a.csv\"]", "content"}},
      {with(R"("context": {"a.csv": {"content": 1}})"), kRefused, {"context[\"a.csv\"].content: must be a string"}},
      {with(R"("context": {"a.csv": {"content": "", "encoding": 1}})"), kRefused, {"context[\"a.csv\"].encoding"}},
      {with(R"("context": {"a.csv": {"content": "", "encoding": "latin-1"}})"), kRefused, {".encoding", "base64"}},
      {with(R"("context": {"a.csv": {"content": "", "encoding": "BASE64"}})"), kRefused, {".encoding"}},
      {with(R"("context": {"a.csv": {"content": "", "content": ""}})"), kRefused, {".content", "twice"}},
      {with(R"("context": {"a.csv": {"content": "*", "encoding": "base64"}})"), kRefused, {"a.csv", "base64"}},
      {with(R"("context": {"a.csv": {"content": "YQ", "encoding": "base64"}})"), kRefused, {"base64"}},
      {with(R"("context": {"a.csv": {"content": "YQ=", "encoding": "base64"}})"), kRefused, {"base64"}},
      {with(R"("context": {"a.csv": {"content": "Y Q==", "encoding": "base64"}})"), kRefused, {"base64"}},
      {with(R"("context": {"a.csv": {"content": "YR==", "encoding": "base64"}})"), kRefused, {"base64"}},
      {with(R"("stdin": {"content": "?", "encoding": "base64"})"), kRefused, {"stdin", "base64"}},
  });
  const auto request = parse_json(with(R"("context": {"a": "é\u0000", "b": {"content": "AP8=", "encoding": "base64"}},
                                          "stdin": {"content": "/w==", "encoding": "base64"})"));
  REQUIRE(request);
  REQUIRE(request->files.size() == 3);
  CHECK(request->context_files == 2);
  CHECK(request->files[1].path == "input/a");
  CHECK(request->files[1].content == "\xC3\xA9\0"sv);
  CHECK(request->files[1].read_only);
  CHECK(request->files[2].content == "\0\xff"sv);
  CHECK(request->stdin_bytes == "\xff");
}

TEST_CASE("names in context") {
  const auto named = [](std::string_view name) { return with(fmt::format("\"context\": {{\"{}\": \"\"}}", name)); };
  for (const std::string_view name : {"a", "a b", "c:d", "e..f", "-g", "ü*?", "a.b", "script.py", "\\u0001"}) {
    check_rows({{named(name)}});
  }
  check_rows({{named(text_of('n', 255))},
              {named(text_of('n', 256)), kRefused, {"context[\"nnn", "…", "name", "255"}}});
  for (const std::string_view name :
       {"", ".", "..", ".hidden", "a/b", "/etc/passwd", "../a", "a\\\\b", "a\\u0000b", "\\u0000"}) {
    check_rows({{named(name), kRefused, {"context[", "name"}}});
  }
  check_rows({{with(R"("context": {"a": "1", "a": "2"})"), kRefused, {"context[\"a\"]", "twice"}},
              {with(R"("context": {"a": "1", "\u0061": "2"})"), kRefused, {"context[\"a\"]", "twice"}},
              {with(R"("context": {"a": "1", "A": "2"})")}});
}

TEST_CASE("paths in files") {
  for (const std::string_view path :
       {"x", "a/b/c.txt", "a b/c..d/é.py", "-x", "inputs", "input/a", "output/a/b", "ab:c", "1:"}) {
    check_rows({{project(fmt::format("\"{}\": \"\"", path))}});
  }
  for (const std::string_view path :
       {"", "/", "\\\\", "/abs.txt", "//abs.txt", "\\\\abs.txt", "..", "../up.txt", "a/../b.txt", "a/..",
        "a\\\\..\\\\b.txt", "C:\\\\x.txt", "C:/x.txt", "c:x.txt", "z:", ".hidden", "a/.hidden", ".git/config", ".",
        "a/./b.txt", "a/", "a//b", "a\\u0000b", "a/b\\u0000", "input", "output"}) {
    check_rows({{project(fmt::format("\"{}\": \"\"", path)), kRefused, {"files["}}});
  }
  const std::string folder = text_of('d', 255) + "/";
  const std::string longest = folder + folder + folder + folder.substr(1) + "f";
  REQUIRE(longest.size() == kMaxPathBytes);
  check_rows({
      {project(fmt::format("\"{}\": \"\"", longest))},
      {project(fmt::format("\"{}f\": \"\"", longest)), kRefused, {"files[", "1024"}},
      {project(fmt::format("\"a/{}\": \"\"", text_of('s', 255)))},
      {project(fmt::format("\"a/{}\": \"\"", text_of('s', 256))), kRefused, {"files[", "255"}},
      {project(R"("a/b": "", "a\\b": "")"), kRefused, {"files[\"a/b\"]", "twice"}},
      {project(R"("a": "", "a/b": "")"), kRefused, {"files[\"a\"]", "folder", "a/b"}},
      {project(R"("a/b/c": "", "a!": "", "a": "")"), kRefused, {"files[\"a\"]", "folder"}},
      {project(R"("ab": "", "a/b": "", "a-b": "")")},
      {project(R"("m.py/x": "")"), kRefused, {"files[\"m.py\"]", "folder"}},
  });
}

TEST_CASE("the entry point is a .py file of the project and comes first") {
  check_rows({
      {project("", ""), kRefused, {"entry_point"}},
      {project("", "other.py"), kRefused, {"entry_point", "other.py"}},
      {project("", "M.py"), kRefused, {"entry_point"}},
      {project("", "/m.py"), kRefused, {"entry_point"}},
      {project("", "./m.py"), kRefused, {"entry_point"}},
      {project(R"("m.txt": "")", "m.txt"), kRefused, {"entry_point", ".py"}},
      {project(R"("a/m.py": "")", "a"), kRefused, {"entry_point"}},
  });
  const auto request = parse_json(project(R"("a\\b.py": "code", "c": "")", "a/b.py"));
  REQUIRE(request);
  CHECK(request->mode == RequestMode::kFiles);
  CHECK(request->job.entry_point == "a/b.py");
  CHECK(request->job.nested_artifacts);
  CHECK(request->context_files == 3);
  REQUIRE(request->files.size() == 3);
  CHECK(request->files[0].path == "a/b.py");
  CHECK(request->files[0].content == "code");
  CHECK(request->files[1].path == "m.py");
  CHECK(request->files[2].path == "c");
  for (const InputFile& file : request->files) CHECK_FALSE(file.read_only);
  CHECK(parse_json(project("", "m.py"))->job.entry_point == "m.py");
  CHECK(parse_json(project(R"("a/b.py": "")", R"(a\\b.py)"))->job.entry_point == "a/b.py");
}

TEST_CASE("limits of script, files and stdin: the last value within, and the first above") {
  const Limits limits;
  const std::size_t file = limits.file_bytes;
  const auto empty_file = [](std::size_t i) { return fmt::format("\"d/f{}\": \"\"", i); };
  const auto script = [](const std::string& text) { return fmt::format("{{\"script\": \"{}\"}}", text); };
  const auto context = [](const std::string& a, const std::string& b, const std::string& c) {
    return with(fmt::format(R"("context": {{"a": {}, "b": {}, "c": {}}})", a, b, c));
  };
  const auto two_files = [](std::size_t a, std::size_t b) {
    return project(fmt::format("\"a\": {}, \"b\": {}", json_of(a), json_of(b)));
  };
  check_rows({
      {script(text_of('#', limits.script_bytes))},
      {script(text_of('#', limits.script_bytes + 1)), kTooLarge, {"script", "262144"}},
      {script("#" + list_of(limits.script_bytes / 2, [](std::size_t) { return "\\u00e9"s; })), kTooLarge, {"script"}},
      {with("\"context\": " + members_of(limits.files, "f", "\"\""))},
      {with("\"context\": " + members_of(limits.files + 1, "f", "\"\"")), kRefused, {"context", "20"}},
      {project(list_of(limits.files - 1, empty_file))},
      {project(list_of(limits.files, empty_file)), kRefused, {"files", "20"}},
      {context(json_of(file), base64_of(file), json_of(0))},
      {context(json_of(file), base64_of(file), json_of(1)), kTooLarge, {"context", "10485760"}},
      {context(json_of(file + 1), json_of(0), json_of(0)), kTooLarge, {"context[\"a\"]", "5242880"}},
      {context(json_of(0), base64_of(file + 1), json_of(0)), kTooLarge, {"context[\"b\"]", "5242880"}},
      {project(fmt::format("\"d\": {}", json_of(file)))},
      {project(fmt::format("\"d\": {}", json_of(file + 1))), kTooLarge, {"files[\"d\"]", "5242880"}},
      {two_files(file, file - 4)},  // "pass" has four bytes
      {two_files(file, file - 3), kTooLarge, {"files", "10485760"}},
      {with("\"stdin\": " + json_of(file))},
      {with("\"stdin\": " + base64_of(file))},
      {with("\"stdin\": " + json_of(file + 1)), kTooLarge, {"stdin", "5242880"}},
      {with("\"stdin\": " + base64_of(file + 1)), kTooLarge, {"stdin", "5242880"}},
  });
}

TEST_CASE("limits of args and env: the last value within, and the first above") {
  const auto args = [](std::size_t count, std::size_t bytes) {
    return with("\"args\": [" + list_of(count, [&](std::size_t) { return json_of(bytes); }) + "]");
  };
  check_rows({
      {args(kMaxArgs, 0)},
      {args(kMaxArgs + 1, 0), kRefused, {"args", "64"}},
      {args(1, kMaxArgsBytes)},
      {args(2, kMaxArgsBytes / 2)},
      {args(1, kMaxArgsBytes + 1), kRefused, {"args", "8192"}},
      {args(2, kMaxArgsBytes / 2 + 1), kRefused, {"args", "8192"}},
      {with(R"("args": ["a", "a\u0000b"])"), kRefused, {"args[1]", "NUL"}},
      {with("\"env\": " + members_of(kMaxEnv, "A", "\"\""))},
      {with("\"env\": " + members_of(kMaxEnv + 1, "A", "\"\"")), kRefused, {"env", "64"}},
      {with(fmt::format("\"env\": {{\"AB\": {}}}", json_of(kMaxEnvBytes - 2)))},
      {with(fmt::format("\"env\": {{\"AB\": {}}}", json_of(kMaxEnvBytes - 1))), kRefused, {"env", "32768"}},
      {with(R"("env": {"A": "x\u0000y"})"), kRefused, {"env[\"A\"]", "NUL"}},
      {with(R"("env": {"A": "1", "A": "2"})"), kRefused, {"env[\"A\"]", "twice"}},
      {with(R"("env": {"_": "", "a": "", "_1": "", "Zz9_": "é\n=x"})")},
  });
  for (const std::string_view name : {"", "1A", "A-B", "A=B", "Ä", "A ", "A\\n", "A\\u0000", "A.B"}) {
    check_rows({{with(fmt::format("\"env\": {{\"{}\": \"\"}}", name)), kRefused, {"env[", "[A-Za-z_]"}}});
  }
  const auto request = parse_json(with(R"("args": ["a", "", "é"], "env": {"B": "2", "A": "1"}, "detail": true)"));
  REQUIRE(request);
  CHECK(request->job.args == std::vector<std::string>{"a", "", "é"});
  CHECK(request->job.env == std::vector<std::pair<std::string, std::string>>{{"B", "2"}, {"A", "1"}});
  CHECK(request->detail);
  CHECK_FALSE(parse_json(R"({"script": "", "detail": false})")->detail);
}

}  // namespace
}  // namespace coderunner::test
