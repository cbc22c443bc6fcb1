// Role: who may run code here: keys, origins and hosts.
// Callers: run_route.cc; settings.cc checks --allow-origin with parse_origin.
// Law: pure functions over plain values. Keys are compared in constant time; no message repeats what was sent.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace coderunner {

// As a browser sends it (RFC 6454, section 7): scheme://host or scheme://host:port. Lower case, port always known.
struct Origin {
  std::string scheme;  // "http" or "https"
  std::string host;    // without the brackets of an IPv6 address
  int port = 0;
  bool operator==(const Origin&) const = default;
};
std::optional<Origin> parse_origin(std::string_view text);

// "localhost", 127.0.0.0/8, "::1".
bool is_loopback_host(std::string_view host);

struct GateConfig {
  std::vector<std::string> keys = {};           // none: everyone may
  std::vector<std::string> allow_origins = {};  // as parse_origin takes them
  bool loopback = false;                        // the service listens on a loopback address
};

// What the request says of itself; nullopt: not sent.
struct GateRequest {
  std::optional<std::string_view> functions_key = {};  // x-functions-key
  std::optional<std::string_view> authorization = {};  // Authorization
  std::optional<std::string_view> code = {};           // ?code=, decoded
  std::optional<std::string_view> origin = {};         // Origin
  std::optional<std::string_view> host = {};           // Host
};

// Fault::kForbidden (403) for a foreign host or origin, then Fault::kUnauthorized (401) for a key missing or wrong.
Result<void> check_gate(const GateRequest& request, const GateConfig& config);

}  // namespace coderunner
