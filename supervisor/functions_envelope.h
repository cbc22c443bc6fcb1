// Role: the envelope in which the Azure Functions host wraps requests that it does not forward: JSON <-> HTTP values.
// Callers: functions_host.cc.
// Law: pure functions; simdjson checks the whole document. What the host leaves out is empty, what it sends in another
// form than the one described is refused.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "supervisor/http.h"

namespace coderunner {

// {"Data":{"req":{"Url","Method","Query","Headers","Params","Body"}},"Metadata":{…}}: method, path, params, headers and
// body as the caller sent them; the other members are the host's matter and stay as they are by default. The path and
// its parameters come from Url. Body is text; base64 where the content type is application/octet-stream or multipart
// (the host's HttpRequestExtensions does that); an object or array stands for its own JSON.
// Fault::kClient.
Result<HttpRequest> read_envelope(std::string_view body);

// {"Outputs":{"res":{"statusCode","headers","body"}},"Logs":[],"ReturnValue":null} with status 200: any other status
// means to the host that the handler has failed.
HttpReply make_envelope(const HttpReply& reply, std::string_view request_id);

}  // namespace coderunner
