// Role: see http_reply_head.h.
#include "supervisor/http_reply_head.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace coderunner {
namespace {

std::string_view reason_phrase(int status) {
  struct Row {
    int status;
    std::string_view phrase;
  };
  constexpr auto kRows = std::to_array<Row>({
      {200, "OK"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
      {405, "Method Not Allowed"}, {408, "Request Timeout"}, {411, "Length Required"}, {413, "Content Too Large"},
      {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {417, "Expectation Failed"}, {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
      {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
  });
  const auto* row = std::ranges::find(kRows, status, &Row::status);
  return row == kRows.end() ? std::string_view("Status") : row->phrase;
}

bool has_header(const HttpReply& reply, std::string_view name) {
  return std::ranges::any_of(reply.headers, [&](const auto& header) { return header.first == name; });
}

}  // namespace

std::string format_reply_head(std::string_view request_id, const HttpReply& reply, std::string_view framing,
                              AfterReply after) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", reply.status,
                                reason_phrase(reply.status), fmt::gmtime(std::chrono::system_clock::now()));
  fmt::format_to(std::back_inserter(out), "Content-Type: {}\r\n{}X-Request-Id: {}\r\n", reply.content_type, framing,
                 request_id);
  if (!has_header(reply, "Server-Timing")) {
    out += "Server-Timing: queue;dur=0.0, setup;dur=0.0, run;dur=0.0, collect;dur=0.0\r\n";
  }
  for (const auto& [name, value] : reply.headers) fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  out += after == AfterReply::kClose ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n";
  return out;
}

}  // namespace coderunner
