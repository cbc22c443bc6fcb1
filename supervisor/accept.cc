// Role: see accept.h.
#include "supervisor/accept.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace coderunner {
namespace {

struct FormRow {
  ReplyForm form;
  std::string_view type;
};
constexpr auto kForms = std::to_array<FormRow>({
    {ReplyForm::kPlain, "application/json"},
    {ReplyForm::kEvents, "text/event-stream"},
    {ReplyForm::kLines, "application/x-ndjson"},
});

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Up to `end`; an end within a quoted string (of a parameter's value) does not count.
std::string_view take_item(std::string_view& text, char end) {
  bool quoted = false;
  std::size_t at = 0;
  for (; at < text.size() && (quoted || text[at] != end); ++at) {
    if (quoted && text[at] == '\\') ++at;
    else if (text[at] == '"') quoted = !quoted;
  }
  const std::string_view item = text.substr(0, at);
  text.remove_prefix(std::min(text.size(), at + 1));
  return trim(item);
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Thousandths (RFC 9110 section 12.4.2); nullopt: not a weight.
std::optional<int> parse_weight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1') || (text.size() > 1 && text[1] != '.')) {
    return std::nullopt;
  }
  int weight = (text[0] - '0') * 1000, unit = 100;
  for (const char digit : text.substr(std::min<std::size_t>(text.size(), 2))) {
    if (digit < '0' || digit > '9') return std::nullopt;
    weight += (digit - '0') * unit;
    unit /= 10;
  }
  return weight <= 1000 ? std::optional(weight) : std::nullopt;
}

// One element of the list: a media range and its weight. Other parameters (charset=utf-8) change nothing here.
struct Range {
  std::string_view type;
  int weight = 1000;
};

std::optional<Range> parse_range(std::string_view element) {
  Range range{.type = take_item(element, ';')};
  while (!element.empty()) {
    std::string_view value = take_item(element, ';');
    if (!same(take_item(value, '='), "q")) continue;
    const auto weight = parse_weight(trim(value));
    if (!weight) return std::nullopt;
    range.weight = *weight;
  }
  return range;
}

// How well a form is wanted; the better, the higher.
struct Wish {
  int weight = 0;
  int precision = 0;  // 3: named, 2: type/*, 1: */*
  int order = 0;      // the earlier, the higher
  auto operator<=>(const Wish&) const = default;
};

int precision_of(const FormRow& form, std::string_view type) {
  if (same(type, form.type)) return 3;
  if (form.form != ReplyForm::kPlain) return 0;
  return same(type, "application/*") ? 2 : type == "*/*" ? 1 : 0;
}

Wish find_wish(const FormRow& form, std::string_view accept) {
  Wish wish;
  for (int order = 0; !accept.empty(); --order) {
    const auto range = parse_range(take_item(accept, ','));
    if (!range) continue;
    // The most precise range decides, whatever its weight: "*/*, text/event-stream;q=0" refuses the latter.
    const int precision = precision_of(form, range->type);
    if (precision > wish.precision) wish = {range->weight, precision, order};
  }
  return wish;
}

}  // namespace

ReplyForm choose_reply_form(std::string_view accept) {
  const FormRow* best = &kForms[0];
  Wish best_wish = find_wish(*best, accept);
  for (const FormRow& form : kForms) {
    const Wish wish = find_wish(form, accept);
    if (wish.weight > 0 && wish > best_wish) {
      best = &form;
      best_wish = wish;
    }
  }
  return best->form;
}

ReplyForm choose_reply_form(const HttpRequest& request) {
  if (request.stream == nullptr) return ReplyForm::kPlain;
  std::string accept;
  for (const auto& [name, value] : request.headers) {
    if (same(name, "Accept")) accept += (accept.empty() ? "" : ",") + value;
  }
  return choose_reply_form(accept);
}

}  // namespace coderunner
