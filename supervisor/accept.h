// Role: which form of answer a client wants, from its Accept field (RFC 9110 section 12.5.1).
// Callers: run_route.cc, functions_host.cc.
// Law: a live form has to be named: wildcards, and what can not be understood, mean the plain answer.
#pragma once

#include <cstdint>
#include <string_view>

#include "supervisor/http.h"

namespace coderunner {

enum class ReplyForm : std::uint8_t {
  kPlain,   // one JSON object at the end
  kEvents,  // text/event-stream: Server-Sent Events
  kLines,   // application/x-ndjson: one JSON object a line
};

// `accept`: the value; several fields joined by commas; empty when there is none. The highest weight wins, then the
// form that is named rather than matched by a wildcard, then the one that is named first.
ReplyForm choose_reply_form(std::string_view accept);
// The form that this request is answered in: a live one only where there is a stream for it.
ReplyForm choose_reply_form(const HttpRequest& request);

}  // namespace coderunner
