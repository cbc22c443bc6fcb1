// Role: raw text or checked fields -> a RunRequest: which fields go together, decoding, sizes.
// Callers: see request.h.
// Law: a size is checked before anything of that size is made; each content is copied once, into its place.
#include "supervisor/request.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/text.h"
#include "supervisor/request_json.h"
#include "supervisor/rules.h"

namespace coderunner {
namespace {

bool is_plain_text(std::string_view content_type) {
  constexpr std::string_view kPlain = "text/plain";
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; };
  return std::ranges::equal(content_type.substr(0, kPlain.size()), kPlain, same);
}

// Which fields exclude or need each other. Rows in the order in which they are told.
struct Combination {
  bool (*wrong)(const RequestFields& f);
  std::string_view message;
};

bool has_context(const RequestFields& f) { return f.context && !f.context->empty(); }  // `{}` is the default

constexpr Combination kCombinations[] = {
    {[](const RequestFields& f) { return f.script && f.files; }, "script: must not be given together with files"},
    {[](const RequestFields& f) { return f.files && has_context(f); },
     "context: must not be given together with files"},
    {[](const RequestFields& f) { return !f.script && !f.files; }, "script is required"},
    {[](const RequestFields& f) { return f.files && f.files->empty(); }, "files: must hold at least one file"},
    {[](const RequestFields& f) { return f.files && !f.entry_point; }, "entry_point is required with files"},
};

Result<std::string> decode_file(std::string_view label, const FileValue& file, Bytes limit) {
  const Bytes bytes = file.base64 ? decoded_base64_bytes(file.content) : file.content.size();
  if (bytes > limit) return refuse_too_large(label, limit);
  if (!file.base64) return std::string(file.content);
  auto decoded = decode_base64(file.content);
  if (!decoded) return refuse(label, "not valid base64 (RFC 4648, padded, no white space)");
  return *std::move(decoded);
}

// Decodes `files` under their paths, which are in the same order.
Result<void> add_files(RunRequest& request, std::string_view field, const std::vector<NamedFile>& files,
                       std::vector<std::string> paths, const Limits& limits) {
  const bool read_only = request.mode != RequestMode::kFiles;
  Bytes total = 0;
  request.context_files = files.size();
  for (std::size_t i = 0; i < files.size(); ++i) {
    const NamedFile& file = files[i];
    std::string content = TRY(decode_file(entry_label(field, file.name), file.value, limits.file_bytes));
    total += content.size();
    if (total > limits.files_bytes) return refuse_too_large(fmt::format("{} together", field), limits.files_bytes);
    request.files.push_back({std::move(paths[i]), std::move(content), read_only});
  }
  return {};
}

Result<void> add_script(RunRequest& request, std::string_view script, const Limits& limits) {
  if (script.size() > limits.script_bytes) return refuse_too_large("script", limits.script_bytes);
  request.files.push_back({.path = std::string(kScriptName), .content = std::string(script)});
  return {};
}

Result<void> add_context(RunRequest& request, const std::vector<NamedFile>& context, const Limits& limits) {
  std::vector<std::string> names, paths;
  for (const NamedFile& file : context) {
    TRY(check_context_name(file.name));
    names.emplace_back(file.name);
    paths.push_back(fmt::format("{}/{}", kInputDir, file.name));
  }
  TRY(check_no_clash("context", names));
  return add_files(request, "context", context, std::move(paths), limits);
}

Result<void> add_project(RunRequest& request, const RequestFields& fields, const Limits& limits) {
  std::vector<std::string> paths;
  for (const NamedFile& file : *fields.files) {
    paths.push_back(TRY(normalise_path(entry_label("files", file.name), file.name)));
  }
  TRY(check_no_clash("files", paths));

  std::string& entry = request.job.entry_point = TRY(normalise_path("entry_point", *fields.entry_point));
  if (!entry.ends_with(".py")) return refuse("entry_point", "must be a .py path");
  if (std::ranges::find(paths, entry) == paths.end()) {
    return refuse("entry_point", fmt::format("{} is not in files", quote_name(*fields.entry_point)));
  }
  TRY(add_files(request, "files", *fields.files, std::move(paths), limits));
  const auto script = std::ranges::find(request.files, entry, &InputFile::path);
  std::rotate(request.files.begin(), script, script + 1);
  return {};
}

Result<RunRequest> parse_raw(const RequestSource& source, const Limits& limits) {
  if (source.body.empty()) return fail(Fault::kClient, "script is required");
  RunRequest request;
  request.mode = RequestMode::kRaw;
  std::uint64_t timeout_s = std::min(limits.default_timeout_s, limits.max_timeout_s);
  if (source.has_timeout_param) timeout_s = TRY(timeout_from_text(source.timeout_param, limits));
  request.job.timeout_ms = timeout_s * 1000;
  TRY(add_script(request, source.body, limits));
  if (!is_utf8(source.body)) return refuse("script", "must be UTF-8");
  return request;
}

Result<RunRequest> parse_json(std::string_view body, const Limits& limits) {
  const RequestFields fields = TRY(read_request_json(body, limits));
  for (const Combination& row : kCombinations) {
    if (row.wrong(fields)) return fail(Fault::kClient, std::string(row.message));
  }
  RunRequest request;
  request.mode = fields.files ? RequestMode::kFiles : RequestMode::kScript;
  request.detail = fields.detail;
  request.job.nested_artifacts = fields.files.has_value();
  request.job.timeout_ms = fields.timeout_s.value_or(std::min(limits.default_timeout_s, limits.max_timeout_s)) * 1000;
  request.job.args.assign(fields.args.begin(), fields.args.end());
  request.job.env.assign(fields.env.begin(), fields.env.end());
  if (fields.files) {
    TRY(add_project(request, fields, limits));
  } else {
    TRY(add_script(request, *fields.script, limits));
    if (fields.context) TRY(add_context(request, *fields.context, limits));
  }
  if (fields.stdin_file) request.stdin_bytes = TRY(decode_file("stdin", *fields.stdin_file, limits.file_bytes));
  return request;
}

}  // namespace

Result<RunRequest> parse_request(const RequestSource& source, const Limits& limits) {
  if (is_plain_text(source.content_type)) return parse_raw(source, limits);
  return parse_json(source.body, limits);
}

}  // namespace coderunner
