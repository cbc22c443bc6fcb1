// Role: simdjson's on-demand parser, read front to back once; one reader a field, in kFieldRows.
// Callers: see request_json.h.
// Law: every value is consumed by a reader or by check_ignored: what simdjson skips itself, it does not check.
#include "supervisor/request_json.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <string>

#include "supervisor/rules.h"

namespace coderunner {
namespace {

using simdjson::ondemand::json_type;
using JsonValue = simdjson::ondemand::value;

constexpr int kMaxDepth = 64;  // of ignored fields: bounds the recursion that checks them; ours are 3 deep

std::unexpected<Error> malformed(simdjson::error_code code) {
  switch (code) {
    case simdjson::EMPTY: return refuse("body", "empty, must be a JSON object");
    case simdjson::UTF8_ERROR: return refuse("body", "must be UTF-8");
    // Every value's kind is looked at before it is read, so only a word remains: `nul`, `truex`.
    case simdjson::INCORRECT_TYPE: return refuse("body", "not valid JSON: a word other than true, false and null");
    case simdjson::MEMALLOC: return fail(Fault::kInternal, "body: no memory to read it");
    default: return refuse("body", fmt::format("not valid JSON: {}", simdjson::error_message(code)));
  }
}

// What a simdjson call answered, or the refusal of the body.
template <class T>
Result<T> got(simdjson::simdjson_result<T>&& result) {
  T value;
  if (const auto code = std::move(result).get(value)) return malformed(code);
  return value;
}

// RFC 8259, section 6. simdjson's own number readers refuse what a double can not hold; valid JSON may be larger.
bool is_json_number(std::string_view token) {
  const auto digits = [&token] {
    const std::size_t count = std::min(token.find_first_not_of("0123456789"), token.size());
    token.remove_prefix(count);
    return count > 0;
  };
  if (token.starts_with('-')) token.remove_prefix(1);
  if (token.starts_with('0')) token.remove_prefix(1);
  else if (!digits()) return false;
  if (token.starts_with('.')) {
    token.remove_prefix(1);
    if (!digits()) return false;
  }
  if (token.starts_with('e') || token.starts_with('E')) {
    token.remove_prefix(1);
    if (token.starts_with('+') || token.starts_with('-')) token.remove_prefix(1);
    if (!digits()) return false;
  }
  return token.empty();
}

Result<std::string_view> number_token(JsonValue value) {
  std::string_view token = value.raw_json_token();  // up to the next token, so with the white space before it
  token = token.substr(0, token.find_last_not_of(" \t\n\r") + 1);
  if (!is_json_number(token)) return malformed(simdjson::NUMBER_ERROR);
  return token;
}

// each(name, value) for every member; it must consume the value.
template <class Each>
Result<void> each_member(simdjson::simdjson_result<simdjson::ondemand::object>&& result, Each&& each) {
  auto object = TRY(got(std::move(result)));
  for (auto item : object) {
    auto field = TRY(got(std::move(item)));
    const std::string_view name = TRY(got(field.unescaped_key()));
    TRY(each(name, field.value()));
  }
  return {};
}

// each(index, value) for every item; it must consume the value.
template <class Each>
Result<void> each_item(JsonValue value, Each&& each) {
  auto array = TRY(got(value.get_array()));
  std::size_t index = 0;
  for (auto item : array) TRY(each(index++, TRY(got(std::move(item)))));
  return {};
}

// Consumes a value nobody asked for: on-demand parsing would skip it unread, braces unmatched.
Result<void> check_ignored(JsonValue value, int depth = 1) {
  if (depth > kMaxDepth) return refuse("body", fmt::format("nested too deeply, at most {} levels", kMaxDepth));
  switch (TRY(got(value.type()))) {
    case json_type::object:
      return each_member(value.get_object(),
                         [depth](std::string_view, JsonValue inner) { return check_ignored(inner, depth + 1); });
    case json_type::array:
      return each_item(value, [&](std::size_t, JsonValue inner) { return check_ignored(inner, depth + 1); });
    case json_type::string: TRY(got(value.get_string())); return {};
    case json_type::number: TRY(number_token(value)); return {};
    case json_type::boolean: TRY(got(value.get_bool())); return {};
    case json_type::null: TRY(got(value.is_null())); return {};
  }
  return malformed(simdjson::TAPE_ERROR);
}

// The label is made only for a refusal: names may be long, and most requests are right.
template <class Label>
Result<void> expect(JsonValue value, json_type type, Label&& label, std::string_view must_be) {
  if (TRY(got(value.type())) != type) return refuse(label(), fmt::format("must be {}", must_be));
  return {};
}

template <class Label>
Result<std::string_view> read_string(JsonValue value, Label&& label) {
  TRY(expect(value, json_type::string, label, "a string"));
  return got(value.get_string());
}

auto fixed_label(std::string_view name) {
  return [name] { return name; };
}

Result<bool> is_null(JsonValue value) {
  if (TRY(got(value.type())) != json_type::null) return false;
  return got(value.is_null());
}

template <class Label>
Result<FileValue> read_file_object(JsonValue value, Label&& label) {
  std::optional<std::string_view> content, encoding;
  const auto read_member = [&](std::string_view name, JsonValue member) -> Result<void> {
    if (name != "content" && name != "encoding") return check_ignored(member);
    auto& slot = name == "content" ? content : encoding;
    const auto member_label = [&] { return fmt::format("{}.{}", label(), name); };
    if (slot) return refuse(member_label(), "given twice");
    if (TRY(is_null(member))) return {};
    slot = TRY(read_string(member, member_label));
    return {};
  };
  TRY(each_member(value.get_object(), read_member));
  if (!content) return refuse(label(), "must have a content");
  if (encoding && *encoding != "utf-8" && *encoding != "base64") {
    return refuse(fmt::format("{}.encoding", label()), "must be \"utf-8\" or \"base64\"");
  }
  return FileValue{.content = *content, .base64 = encoding == "base64"};
}

template <class Label>
Result<FileValue> read_file(JsonValue value, Label&& label) {
  if (TRY(got(value.type())) == json_type::object) return read_file_object(value, label);
  TRY(expect(value, json_type::string, label, R"(a string or {"content": string, "encoding": "utf-8" | "base64"})"));
  return FileValue{.content = TRY(got(value.get_string()))};
}

Result<std::vector<NamedFile>> read_files(JsonValue value, std::string_view field, const Limits& limits) {
  TRY(expect(value, json_type::object, fixed_label(field), "an object of files by name"));
  std::vector<NamedFile> files;
  const auto read_one = [&](std::string_view name, JsonValue file) -> Result<void> {
    if (files.size() == limits.files) return refuse(field, fmt::format("too many files, at most {}", limits.files));
    FileValue content = TRY(read_file(file, [&] { return entry_label(field, name); }));
    files.push_back({name, std::move(content)});
    return {};
  };
  TRY(each_member(value.get_object(), read_one));
  return files;
}

// ---- one reader a field

Result<void> read_script(RequestFields& fields, JsonValue value, const Limits&) {
  fields.script = TRY(read_string(value, fixed_label("script")));
  return {};
}

Result<void> read_entry_point(RequestFields& fields, JsonValue value, const Limits&) {
  fields.entry_point = TRY(read_string(value, fixed_label("entry_point")));
  return {};
}

Result<void> read_timeout(RequestFields& fields, JsonValue value, const Limits& limits) {
  switch (TRY(got(value.type()))) {
    case json_type::number: fields.timeout_s = TRY(timeout_from_number(TRY(number_token(value)), limits)); return {};
    case json_type::string:
      fields.timeout_s = TRY(timeout_from_text(TRY(got(value.get_string())), limits));
      return {};
    default: return refuse("timeout_s", "must be an integer, or a string of one");
  }
}

Result<void> read_context(RequestFields& fields, JsonValue value, const Limits& limits) {
  fields.context = TRY(read_files(value, "context", limits));
  return {};
}

Result<void> read_project(RequestFields& fields, JsonValue value, const Limits& limits) {
  fields.files = TRY(read_files(value, "files", limits));
  return {};
}

Result<void> read_stdin(RequestFields& fields, JsonValue value, const Limits&) {
  fields.stdin_file = TRY(read_file(value, fixed_label("stdin")));
  return {};
}

Result<void> read_args(RequestFields& fields, JsonValue value, const Limits&) {
  TRY(expect(value, json_type::array, fixed_label("args"), "an array of strings"));
  Bytes bytes = 0;
  return each_item(value, [&](std::size_t index, JsonValue item) -> Result<void> {
    const auto label = [&] { return fmt::format("args[{}]", index); };
    if (index == kMaxArgs) return refuse("args", fmt::format("too many, at most {}", kMaxArgs));
    const std::string_view text = TRY(read_string(item, label));
    if (has_nul(text)) return refuse(label(), "must not contain NUL");
    bytes += text.size();
    if (bytes > kMaxArgsBytes) return refuse("args", fmt::format("too long, at most {} bytes together", kMaxArgsBytes));
    fields.args.push_back(text);
    return {};
  });
}

Result<void> read_env(RequestFields& fields, JsonValue value, const Limits&) {
  TRY(expect(value, json_type::object, fixed_label("env"), "an object of strings"));
  Bytes bytes = 0;
  return each_member(value.get_object(), [&](std::string_view name, JsonValue item) -> Result<void> {
    const auto label = [&] { return entry_label("env", name); };
    if (fields.env.size() == kMaxEnv) return refuse("env", fmt::format("too many, at most {}", kMaxEnv));
    TRY(check_env_name(name));
    const bool known = std::ranges::any_of(fields.env, [name](const auto& entry) { return entry.first == name; });
    if (known) return refuse(label(), "given twice");
    const std::string_view text = TRY(read_string(item, label));
    if (has_nul(text)) return refuse(label(), "must not contain NUL");
    bytes += name.size() + text.size();
    if (bytes > kMaxEnvBytes) return refuse("env", fmt::format("too long, at most {} bytes together", kMaxEnvBytes));
    fields.env.emplace_back(name, text);
    return {};
  });
}

Result<void> read_dependencies(RequestFields&, JsonValue value, const Limits&) {
  TRY(expect(value, json_type::array, fixed_label("dependencies"), "an array of strings"));
  return each_item(value, [](std::size_t index, JsonValue item) -> Result<void> {
    TRY(read_string(item, [index] { return fmt::format("dependencies[{}]", index); }));
    return refuse("dependencies", "not available yet");
  });
}

Result<void> read_detail(RequestFields& fields, JsonValue value, const Limits&) {
  TRY(expect(value, json_type::boolean, fixed_label("detail"), "true or false"));
  fields.detail = TRY(got(value.get_bool()));
  return {};
}

struct FieldRow {
  std::string_view name;
  Result<void> (*read)(RequestFields& fields, JsonValue value, const Limits& limits);
};

constexpr FieldRow kFieldRows[] = {
    {"script", read_script},
    {"timeout_s", read_timeout},
    {"context", read_context},
    {"files", read_project},
    {"entry_point", read_entry_point},
    {"stdin", read_stdin},
    {"args", read_args},
    {"env", read_env},
    {"dependencies", read_dependencies},
    {"detail", read_detail},
};

struct Storage {
  explicit Storage(std::string_view body) : text(body) {}
  simdjson::padded_string text;  // a copy: simdjson reads up to 64 bytes past the end
  simdjson::ondemand::parser parser;  // holds the decoded strings
};

}  // namespace

Result<RequestFields> read_request_json(std::string_view body, const Limits& limits) {
  if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);  // a byte order mark may be ignored (RFC 8259, 8.1)
  auto storage = std::make_shared<Storage>(body);
  auto document = TRY(got(storage->parser.iterate(storage->text)));
  if (TRY(got(document.type())) != json_type::object) return refuse("body", "must be a JSON object");

  RequestFields fields;
  std::array<bool, std::size(kFieldRows)> seen{};
  const auto read_field = [&](std::string_view name, JsonValue value) -> Result<void> {
    const auto row = std::ranges::find(kFieldRows, name, &FieldRow::name);
    if (row == std::end(kFieldRows)) return check_ignored(value);
    if (std::exchange(seen[static_cast<std::size_t>(row - kFieldRows)], true)) return refuse(name, "given twice");
    if (TRY(is_null(value))) return {};
    return row->read(fields, value, limits);
  };
  TRY(each_member(document.get_object(), read_field));
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
    return refuse("body", "not valid JSON: something follows the object");
  }
  fields.storage = std::move(storage);
  return fields;
}

}  // namespace coderunner
