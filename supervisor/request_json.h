// Role: a JSON body -> the fields of a run, checked for type and count. The door to simdjson.
// Callers: request.cc.
// Law: the whole document is checked, ignored fields too; `null` is the same as absent; a known field given twice is
// refused, because the two readers of a body who pick different ones would not see the same job.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/limits.h"
#include "common/result.h"

namespace coderunner {

struct FileValue {
  std::string_view content;  // as written: not yet decoded
  bool base64 = false;
};

struct NamedFile {
  std::string_view name;
  FileValue value;
};

struct RequestFields {
  std::optional<std::string_view> script, entry_point;
  std::optional<std::vector<NamedFile>> context, files;  // at most limits.files each
  std::optional<FileValue> stdin_file;
  std::optional<std::uint64_t> timeout_s;  // clamped
  std::vector<std::string_view> args;
  std::vector<std::pair<std::string_view, std::string_view>> env;
  bool detail = false;

  std::shared_ptr<const void> storage;  // what the views above point into
};

// Fault::kClient (400) with the field and what is wrong with it.
Result<RequestFields> read_request_json(std::string_view body, const Limits& limits);

}  // namespace coderunner
