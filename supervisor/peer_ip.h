// Role: whose request it is: the peer's address, or what a trusted proxy says about it.
// Callers: run_route.cc and routes.cc, for the audit log.
// Law: a header is believed only from a proxy that the operator named; anybody can write one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace coderunner {

// An IPv4 or IPv6 address in IPv6 form (IPv4 as ::ffff:a.b.c.d, RFC 4291 section 2.5.5.2).
using IpAddress = std::array<std::uint8_t, 16>;
std::optional<IpAddress> parse_ip(std::string_view text);

class TrustedProxies {
 public:
  TrustedProxies() = default;  // trusts nobody
  // Entries are addresses or networks: "10.0.0.1", "10.0.0.0/8", "fd00::/8". Fault::kClient names a wrong one.
  static Result<TrustedProxies> parse(std::span<const std::string> entries);
  [[nodiscard]] bool contains(std::string_view ip) const;

 private:
  struct Network {
    IpAddress address;
    int prefix_bits;  // 0..128
  };
  std::vector<Network> networks_;
};

// The first entry of X-Forwarded-For when the peer is trusted and the entry is an address (a port is taken off, as
// Azure's front ends add one); else the peer.
std::string choose_client_ip(const TrustedProxies& proxies, std::string_view peer_ip,
                             std::optional<std::string_view> forwarded_for);

}  // namespace coderunner
