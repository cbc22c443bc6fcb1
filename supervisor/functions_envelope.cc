// Role: the two directions of the envelope; see functions_envelope.h.
#include "supervisor/functions_envelope.h"

#include <strings.h>

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "common/text.h"
#include "supervisor/http_head.h"

namespace coderunner {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

std::unexpected<Error> refuse_member(std::string_view member, std::string_view what) {
  return fail(Fault::kClient, fmt::format("invocation: {} {}", member, what));
}

Result<object> read_object(object parent, std::string_view name) {
  object inner;
  if (parent[name].get(inner) != simdjson::SUCCESS) return refuse_member(name, "must be an object");
  return inner;
}

Result<std::string_view> read_text(object req, std::string_view name) {
  std::string_view text;
  if (req[name].get(text) != simdjson::SUCCESS) return refuse_member(name, "must be a string");
  return text;
}

// "https://host/path?query" without scheme and host.
std::string_view target_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == url.npos) return url;
  const auto path = url.find_first_of("/?", scheme + 3);
  return path == url.npos ? "/" : url.substr(path);
}

// A value, or several of one name.
Result<void> add_header(std::string_view name, element value, HttpRequest& request) {
  if (std::string_view text; value.get(text) == simdjson::SUCCESS) {
    request.headers.emplace_back(name, text);
    return {};
  }
  simdjson::dom::array values;
  if (value.get(values) != simdjson::SUCCESS) return refuse_member("Headers", "must hold strings or arrays of them");
  for (const element one : values) {
    std::string_view text;
    if (one.get(text) != simdjson::SUCCESS) return refuse_member("Headers", "must hold strings or arrays of them");
    request.headers.emplace_back(name, text);
  }
  return {};
}

Result<void> read_headers(object req, HttpRequest& request) {
  element headers;
  if (req["Headers"].get(headers) != simdjson::SUCCESS || headers.is_null()) return {};
  object names;
  if (headers.get(names) != simdjson::SUCCESS) return refuse_member("Headers", "must be an object");
  for (const auto& field : names) TRY(add_header(field.key, field.value, request));
  return {};
}

bool travels_as_base64(const HttpRequest& request) {
  constexpr std::string_view kKinds[] = {"application/octet-stream", "multipart/"};
  const auto type = std::ranges::find_if(
      request.headers, [](const auto& header) { return strcasecmp(header.first.c_str(), "Content-Type") == 0; });
  return type != request.headers.end() && std::ranges::any_of(kKinds, [&](std::string_view kind) {
    return strncasecmp(type->second.c_str(), kind.data(), kind.size()) == 0;
  });
}

Result<std::string> read_body(object req, bool base64) {
  element body;
  if (req["Body"].get(body) != simdjson::SUCCESS || body.is_null()) return std::string();
  if (body.is_object() || body.is_array()) return simdjson::minify(body);
  std::string_view text;
  if (body.get(text) != simdjson::SUCCESS) return refuse_member("Body", "must be a string or an object");
  if (!base64) return std::string(text);
  auto bytes = decode_base64(text);
  if (!bytes) return refuse_member("Body", "must be base64 with this content type");
  return std::move(*bytes);
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  if (out.back() != '{') out += ',';
  append_json_quoted(out, decode_utf8_replace(name));
  out += ':';
  append_json_quoted(out, decode_utf8_replace(value));
}

}  // namespace

Result<HttpRequest> read_envelope(std::string_view body) {
  simdjson::dom::parser parser;
  element root;
  if (const auto code = parser.parse(body.data(), body.size()).get(root)) {
    return fail(Fault::kClient, fmt::format("invocation: not valid JSON: {}", simdjson::error_message(code)));
  }
  object invocation;
  if (root.get(invocation) != simdjson::SUCCESS) return fail(Fault::kClient, "invocation: must be an object");
  const object req = TRY(read_object(TRY(read_object(invocation, "Data")), "req"));

  HttpRequest request;
  request.method = TRY(read_text(req, "Method"));
  parse_target(target_of(TRY(read_text(req, "Url"))), request);
  TRY(read_headers(req, request));
  request.body = TRY(read_body(req, travels_as_base64(request)));
  return request;
}

HttpReply make_envelope(const HttpReply& reply, std::string_view request_id) {
  std::string headers = "{";
  append_header(headers, "Content-Type", reply.content_type);
  append_header(headers, "X-Request-Id", request_id);
  for (const auto& [name, value] : reply.headers) append_header(headers, name, value);
  headers += '}';

  HttpReply envelope;
  envelope.body = fmt::format(R"({{"Outputs":{{"res":{{"statusCode":{},"headers":{},"body":)", reply.status, headers);
  append_json_quoted(envelope.body, reply.body);
  envelope.body += R"(}},"Logs":[],"ReturnValue":null})";
  return envelope;
}

}  // namespace coderunner
