// Role: the head of an answer: status line and fields, those included that every answer carries.
// Callers: http_connection.cc (whole answers), http_stream.cc (answers in pieces).
// Law: X-Request-Id, Server-Timing, Date and Connection are written here and nowhere else.
#pragma once

#include <string>
#include <string_view>

#include "supervisor/http.h"

namespace coderunner {

enum class AfterReply { kKeepAlive, kClose };

// `framing`: the field that says where the body ends, with its CR LF; empty when the end of the connection does.
std::string format_reply_head(std::string_view request_id, const HttpReply& reply, std::string_view framing,
                              AfterReply after);

}  // namespace coderunner
