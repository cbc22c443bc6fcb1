// Role: libFuzzer target: any bytes as an invocation of the Azure Functions host, and as the body of an answer to it.
// Law: no crash, no sanitizer report; a refusal says why in one line; an answer is JSON that holds the body unchanged.
#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/text.h"
#include "supervisor/functions_envelope.h"

namespace {

using namespace coderunner;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_invocation(std::string_view bytes) {
  const auto request = read_envelope(bytes);
  if (request) return require(request->path.find('?') == std::string::npos || bytes.find('%') != bytes.npos ||
                              bytes.find('\\') != bytes.npos);  // a query ends the path, unless it was escaped
  require(request.error().fault == Fault::kClient);
  require(request.error().message.starts_with("invocation: ") && request.error().message.size() < 200);
  require(std::ranges::none_of(request.error().message, [](char c) { return c >= 0 && c < ' '; }));
}

void check_answer(std::string_view bytes) {
  HttpReply reply;
  reply.status = 418;
  reply.headers.emplace_back("X-Any", bytes.substr(0, 64));
  reply.body = decode_utf8_replace(bytes);
  const HttpReply envelope = make_envelope(reply, "id");
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  require(envelope.status == 200 && parser.parse(envelope.body).get(root) == simdjson::SUCCESS);
  std::string_view body;
  std::int64_t status = 0;
  require(root.at_pointer("/Outputs/res/body").get(body) == simdjson::SUCCESS && body == reply.body);
  require(root.at_pointer("/Outputs/res/statusCode").get(status) == simdjson::SUCCESS && status == 418);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_invocation(bytes);
  check_answer(bytes);
  return 0;
}
