// Role: the rules of the contract for single fields of POST /api/run, on plain text: names, paths, numbers.
// Callers: request_json.cc and request.cc; the tests.
// Law: pure functions. A refusal is one line: the field (with the entry, quoted and cut), what is wrong, the limit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/limits.h"
#include "common/result.h"

namespace coderunner {

// A name from a request for use in a message: quoted, escaped, at most 100 bytes of it.
std::string quote_name(std::string_view name);
// `context["a.csv"]`
std::string entry_label(std::string_view field, std::string_view name);

// 400, and 413 with the limit in bytes.
std::unexpected<Error> refuse(std::string_view label, std::string_view says);
std::unexpected<Error> refuse_too_large(std::string_view label, Bytes limit);

// Seconds from 1 to limits.max_timeout_s. Text: decimal digits with an optional sign and surrounding white space, as
// Python's int() takes them. Number: a valid JSON number of any size; a fraction is dropped.
Result<std::uint64_t> timeout_from_text(std::string_view text, const Limits& limits);
Result<std::uint64_t> timeout_from_number(std::string_view number, const Limits& limits);

// A name in `context`: one file of ./input/.
Result<void> check_context_name(std::string_view name);
// A path in `files` or `entry_point`, with `\` turned into `/`; `label` for the message.
Result<std::string> normalise_path(std::string_view label, std::string_view path);
// No path twice, and none that is a folder of another. Paths as from normalise_path; `field` for the message.
Result<void> check_no_clash(std::string_view field, const std::vector<std::string>& paths);

Result<void> check_env_name(std::string_view name);
// Then it can be no argument and no variable: those end at the first NUL (execve(2)).
bool has_nul(std::string_view text);

}  // namespace coderunner
