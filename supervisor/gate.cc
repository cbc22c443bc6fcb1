// Role: the three checks in front of POST /api/run, in order: host, origin, key.
// Callers: see gate.h.
// Law: a web page is told nothing by which it could find out a key: host and origin come first.
#include "supervisor/gate.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace coderunner {
namespace {

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), to_lower);
  return lower;
}

struct HostPort {
  std::string host;  // lower case, without brackets
  std::optional<int> port;
};

// The Host header and the part of an origin behind "://" (RFC 9110, section 7.2): host, or host:port.
std::optional<HostPort> parse_host(std::string_view text) {
  constexpr std::string_view kNameChars = "abcdefghijklmnopqrstuvwxyz0123456789-._";
  HostPort parsed;
  const std::string lower = lower_case(text);
  std::string_view rest = lower;
  if (rest.starts_with('[')) {
    parsed.host = rest.substr(1, rest.find(']') - 1);
    in6_addr address{};
    if (rest.find(']') == rest.npos || inet_pton(AF_INET6, parsed.host.c_str(), &address) != 1) return std::nullopt;
    rest.remove_prefix(parsed.host.size() + 2);
  } else {
    parsed.host = rest.substr(0, rest.find_first_not_of(kNameChars));
    if (parsed.host.empty()) return std::nullopt;
    rest.remove_prefix(parsed.host.size());
  }
  if (rest.empty()) return parsed;
  int port = 0;
  const char* const end = rest.data() + rest.size();
  const auto [stop, error] = std::from_chars(rest.data() + 1, end, port);
  if (rest.front() != ':' || error != std::errc{} || stop != end || port < 1 || port > 65535) return std::nullopt;
  parsed.port = port;
  return parsed;
}

bool is_own(const Origin& origin, const std::optional<HostPort>& host) {
  const int default_port = origin.scheme == "https" ? 443 : 80;
  return host && origin.host == host->host && origin.port == host->port.value_or(default_port);
}

bool is_allowed(const Origin& origin, const GateConfig& config) {
  return std::ranges::any_of(config.allow_origins, [&](const auto& text) { return parse_origin(text) == origin; });
}

bool is_expected_host(const HostPort& host, const GateConfig& config) {
  return is_loopback_host(host.host) || std::ranges::any_of(config.allow_origins, [&](const auto& text) {
           const auto allowed = parse_origin(text);
           return allowed && allowed->host == host.host;
         });
}

// Hashed first, so that neither the length nor a common beginning shows in the time taken.
bool same_key(std::string_view a, std::string_view b) {
  const auto hash = [](std::string_view key) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
    return digest;
  };
  return CRYPTO_memcmp(hash(a).data(), hash(b).data(), SHA256_DIGEST_LENGTH) == 0;
}

// The scheme's name in any case, then one space or more (RFC 9110, section 11.4).
std::optional<std::string_view> bearer_token(std::optional<std::string_view> authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!authorization || lower_case(authorization->substr(0, kScheme.size())) != kScheme) return std::nullopt;
  const std::size_t start = authorization->find_first_not_of(' ', kScheme.size());
  return start == authorization->npos ? std::string_view() : authorization->substr(start);
}

Result<void> check_key(const GateRequest& request, const GateConfig& config) {
  if (config.keys.empty()) return {};
  bool sent = false, right = false;
  for (const auto& key : {request.functions_key, request.code, bearer_token(request.authorization)}) {
    if (!key || key->empty()) continue;
    sent = true;
    for (const std::string& known : config.keys) right |= same_key(*key, known);  // all of them: no early end to time
  }
  if (right) return {};
  return fail(Fault::kUnauthorized,
              sent ? "key: not one of this service's"
                   : "key: required, as x-functions-key header, ?code= or Authorization: Bearer");
}

}  // namespace

std::optional<Origin> parse_origin(std::string_view text) {
  const std::size_t colon = std::min(text.find("://"), text.size());
  Origin origin;
  origin.scheme = lower_case(text.substr(0, colon));
  if (origin.scheme != "http" && origin.scheme != "https") return std::nullopt;
  if (colon == text.size()) return std::nullopt;
  auto host = parse_host(text.substr(colon + 3));
  if (!host) return std::nullopt;
  origin.host = std::move(host->host);
  origin.port = host->port.value_or(origin.scheme == "https" ? 443 : 80);
  return origin;
}

bool is_loopback_host(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  in_addr address{};
  if (inet_pton(AF_INET, std::string(host).c_str(), &address) != 1) return false;
  return (ntohl(address.s_addr) >> 24) == IN_LOOPBACKNET;
}

Result<void> check_gate(const GateRequest& request, const GateConfig& config) {
  const auto host = request.host ? parse_host(*request.host) : std::nullopt;
  // A page whose name was made to resolve to this machine (DNS rebinding) still sends that name as Host.
  if (config.loopback && request.host && !(host && is_expected_host(*host, config))) {
    return fail(Fault::kForbidden, "host: only localhost, loopback addresses and hosts of --allow-origin are served");
  }
  if (request.origin) {
    const auto origin = parse_origin(*request.origin);
    if (!origin || !(is_own(*origin, host) || is_allowed(*origin, config))) {
      return fail(Fault::kForbidden, "origin: neither this service's own nor allowed by --allow-origin");
    }
  }
  return check_key(request, config);
}

}  // namespace coderunner
