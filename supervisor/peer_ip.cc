// Role: addresses, networks and X-Forwarded-For; see peer_ip.h.
#include "supervisor/peer_ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace coderunner {
namespace {

std::string_view trim_blanks(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "1.2.3.4:5678" and "[::1]:5678" without port and brackets.
std::string_view drop_port(std::string_view text) {
  if (text.starts_with('[')) return text.substr(1, std::min(text.find(']'), text.size()) - 1);
  return std::ranges::count(text, ':') == 1 ? text.substr(0, text.find(':')) : text;
}

bool same_prefix(const IpAddress& a, const IpAddress& b, int bits) {
  const int whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  return bits % 8 == 0 || (a[whole] >> (8 - bits % 8)) == (b[whole] >> (8 - bits % 8));
}

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  const std::string terminated(text);
  IpAddress out{};
  if (::inet_pton(AF_INET6, terminated.c_str(), out.data()) == 1) return out;
  out = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (::inet_pton(AF_INET, terminated.c_str(), &out[12]) == 1) return out;
  return std::nullopt;
}

Result<TrustedProxies> TrustedProxies::parse(std::span<const std::string> entries) {
  TrustedProxies out;
  for (const std::string& entry : entries) {
    const auto slash = entry.find('/');
    const auto address = parse_ip(std::string_view(entry).substr(0, slash));
    const int width = entry.find(':') == entry.npos ? 32 : 128;
    int bits = width;
    if (slash != entry.npos) {
      const char* end = entry.data() + entry.size();
      if (std::from_chars(entry.data() + slash + 1, end, bits).ptr != end || slash + 1 == entry.size()) bits = -1;
    }
    if (!address || bits < 0 || bits > width) {
      return fail(Fault::kClient, fmt::format("trusted-proxy: \"{}\" is neither an address nor a network", entry));
    }
    out.networks_.push_back({*address, bits + 128 - width});
  }
  return out;
}

bool TrustedProxies::contains(std::string_view ip) const {
  const auto address = parse_ip(ip);
  return address && std::ranges::any_of(networks_, [&](const Network& network) {
    return same_prefix(*address, network.address, network.prefix_bits);
  });
}

std::string choose_client_ip(const TrustedProxies& proxies, std::string_view peer_ip,
                             std::optional<std::string_view> forwarded_for) {
  if (forwarded_for && proxies.contains(peer_ip)) {
    const std::string_view first = drop_port(trim_blanks(forwarded_for->substr(0, forwarded_for->find(','))));
    if (parse_ip(first)) return std::string(first);
  }
  return std::string(peer_ip);
}

}  // namespace coderunner
