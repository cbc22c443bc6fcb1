// Role: the rules as rows: what breaks each and what the refusal says.
// Callers: see rules.h.
// Law: rules of one table are tried in order, so a later one may rely on the earlier (not empty, no NUL).
#include "supervisor/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <span>

#include "common/job.h"
#include "common/text.h"

namespace coderunner {
namespace {

constexpr std::size_t kShownNameBytes = 100;
constexpr std::string_view kPythonSpace = " \t\n\v\f\r";

// One rule on a text: what breaks it, and what the refusal says.
struct TextRule {
  bool (*broken)(std::string_view text);
  std::string_view says;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class Broken>
bool any_segment(std::string_view path, Broken broken) {
  for (std::size_t start = 0;;) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    if (broken(path.substr(start, end - start))) return true;
    if (end == path.size()) return false;
    start = end + 1;
  }
}

constexpr TextRule kContextName[] = {
    {[](std::string_view t) { return t.empty(); }, "name must not be empty"},
    {[](std::string_view t) { return t.front() == '.'; }, "name must not begin with '.'"},
    {[](std::string_view t) { return t.find_first_of("/\\") != t.npos; }, "name must not contain '/' or '\\'"},
    {has_nul, "name must not contain NUL"},
    {[](std::string_view t) { return t.size() > kMaxNameBytes; }, "name too long, at most 255 bytes"},
};
static_assert(kMaxNameBytes == 255 && kMaxPathBytes == 1024, "the messages name these limits");

constexpr TextRule kFilePath[] = {
    {[](std::string_view t) { return t.empty(); }, "must not be empty"},
    {has_nul, "must not contain NUL"},
    {[](std::string_view t) { return t.size() > kMaxPathBytes; }, "path too long, at most 1024 bytes"},
    {[](std::string_view t) { return t.front() == '/'; }, "must be a relative path"},
    {[](std::string_view t) { return t.size() > 1 && is_letter(t[0]) && t[1] == ':'; }, "must not name a drive"},
    {[](std::string_view t) { return any_segment(t, [](std::string_view s) { return s.empty(); }); },
     "must not have an empty segment"},
    {[](std::string_view t) { return any_segment(t, [](std::string_view s) { return s == ".."; }); },
     "must not contain '..'"},
    {[](std::string_view t) { return any_segment(t, [](std::string_view s) { return s.starts_with('.'); }); },
     "must not have a segment that begins with '.'"},
    {[](std::string_view t) { return any_segment(t, [](std::string_view s) { return s.size() > kMaxNameBytes; }); },
     "segment too long, at most 255 bytes"},
    {[](std::string_view t) { return t == kInputDir || t == kOutputDir; }, "is a folder of every run"},
};

constexpr TextRule kEnvName[] = {
    {[](std::string_view t) {
       const auto word = [](char c) { return is_letter(c) || is_digit(c) || c == '_'; };
       return t.empty() || is_digit(t.front()) || !std::ranges::all_of(t, word);
     },
     "name must match [A-Za-z_][A-Za-z0-9_]*"},
};

Result<void> check_rules(std::span<const TextRule> rules, std::string_view label, std::string_view text) {
  for (const TextRule& rule : rules) {
    if (rule.broken(text)) return refuse(label, rule.says);
  }
  return {};
}

std::unexpected<Error> refuse_timeout(const Limits& limits) {
  return refuse("timeout_s", fmt::format("must be a whole number of seconds, 1 or more (above {} counts as {})",
                                         limits.max_timeout_s, limits.max_timeout_s));
}

}  // namespace

std::string quote_name(std::string_view name) {
  if (name.size() <= kShownNameBytes) return json_quote(name);
  return json_quote(fmt::format("{}…", drop_incomplete_utf8(name.substr(0, kShownNameBytes - 3))));
}

std::string entry_label(std::string_view field, std::string_view name) {
  return fmt::format("{}[{}]", field, quote_name(name));
}

std::unexpected<Error> refuse(std::string_view label, std::string_view says) {
  return fail(Fault::kClient, fmt::format("{}: {}", label, says));
}

std::unexpected<Error> refuse_too_large(std::string_view label, Bytes limit) {
  return fail(Fault::kTooLarge, fmt::format("{}: too large, at most {} bytes", label, limit));
}

Result<std::uint64_t> timeout_from_text(std::string_view text, const Limits& limits) {
  const std::size_t first = text.find_first_not_of(kPythonSpace);
  if (first == text.npos) return refuse_timeout(limits);
  text = text.substr(first, text.find_last_not_of(kPythonSpace) - first + 1);
  const bool negative = text.front() == '-';
  if (negative || text.front() == '+') text.remove_prefix(1);
  if (text.empty() || !std::ranges::all_of(text, is_digit) || negative) return refuse_timeout(limits);

  std::uint64_t seconds = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (parsed.ec == std::errc::result_out_of_range) return limits.max_timeout_s;
  if (seconds == 0) return refuse_timeout(limits);
  return std::min(seconds, limits.max_timeout_s);
}

Result<std::uint64_t> timeout_from_number(std::string_view number, const Limits& limits) {
  // strtod, not from_chars: it answers HUGE_VAL or 0 beyond a double's range, and 1e999 is to be clamped as 1e9 is.
  const double seconds = std::strtod(std::string(number).c_str(), nullptr);
  if (seconds < 1) return refuse_timeout(limits);
  if (seconds >= static_cast<double>(limits.max_timeout_s)) return limits.max_timeout_s;
  return static_cast<std::uint64_t>(seconds);  // drops the fraction
}

Result<void> check_context_name(std::string_view name) {
  return check_rules(kContextName, entry_label("context", name), name);
}

Result<std::string> normalise_path(std::string_view label, std::string_view path) {
  std::string normal(path);
  std::ranges::replace(normal, '\\', '/');
  TRY(check_rules(kFilePath, label, normal));
  return normal;
}

Result<void> check_no_clash(std::string_view field, const std::vector<std::string>& paths) {
  std::vector<std::string_view> sorted(paths.begin(), paths.end());
  std::ranges::sort(sorted);
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const std::string_view path = sorted[i];
    if (i > 0 && path == sorted[i - 1]) return refuse(entry_label(field, path), "given twice");
    for (std::size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      const std::string_view folder = path.substr(0, slash);
      if (std::ranges::binary_search(sorted, folder)) {
        return refuse(entry_label(field, folder), fmt::format("is a folder of {} as well", quote_name(path)));
      }
    }
  }
  return {};
}

Result<void> check_env_name(std::string_view name) { return check_rules(kEnvName, entry_label("env", name), name); }

bool has_nul(std::string_view text) { return text.find('\0') != text.npos; }

}  // namespace coderunner
