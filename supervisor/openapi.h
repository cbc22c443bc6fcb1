// Role: GET /openapi.json: the contract as OpenAPI 3.1, for clients that generate code and for people.
// Callers: the routes, as serve_command.cc makes them.
// Law: openapi.json is the text; it holds no limit: "@script-bytes" in it stands for this service's own.
#pragma once

#include <string_view>

#include "common/limits.h"
#include "supervisor/http.h"

namespace coderunner {

HttpReply make_openapi_page(const Limits& limits, std::string_view version);

}  // namespace coderunner
