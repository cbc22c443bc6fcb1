// Role: see boot_report.h.
#include "worker/boot_report.h"

#include <charconv>

namespace coderunner {
namespace {

// The fields of one record: NUL-terminated pieces.
std::string_view take_field(std::string_view& bytes) {
  const auto end = bytes.find('\0');
  const auto field = bytes.substr(0, end);
  bytes = end == std::string_view::npos ? std::string_view() : bytes.substr(end + 1);
  return field;
}

template <class Number>
void parse_number(std::string_view text, Number& number) {
  std::from_chars(text.data(), text.data() + text.size(), number);
}

}  // namespace

BootReport parse_boot_report(std::string_view bytes) {
  BootReport report;
  while (!bytes.empty()) {
    const auto kind = take_field(bytes);
    if (kind == "parked") {
      report.version = take_field(bytes);
    } else if (kind == "exception") {
      ExceptionInfo info;
      info.type = take_field(bytes);
      info.message = take_field(bytes);
      info.file = take_field(bytes);
      parse_number(take_field(bytes), info.line);
      info.source = take_field(bytes);
      report.exception = std::move(info);
    } else if (kind == "ended") {
      BootReport::Ended& ended = report.ended.emplace();
      parse_number(take_field(bytes), ended.peak_memory_bytes);
    } else {
      break;
    }
  }
  return report;
}

}  // namespace coderunner
