// Role: whom the audit log names.
#include "supervisor/peer_ip.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

TrustedProxies trust(std::vector<std::string> entries) { return TrustedProxies::parse(entries).value(); }

TEST_CASE("networks hold what they say") {
  struct Row {
    std::string entry, ip;
    bool held;
  };
  const Row rows[] = {
      {"10.0.0.1", "10.0.0.1", true},          {"10.0.0.1", "10.0.0.2", false},
      {"10.0.0.0/8", "10.255.1.2", true},      {"10.0.0.0/8", "11.0.0.0", false},
      {"192.168.4.0/22", "192.168.7.255", true}, {"192.168.4.0/22", "192.168.8.0", false},
      {"0.0.0.0/0", "8.8.8.8", true},          {"0.0.0.0/0", "::1", false},
      {"::1", "::1", true},                    {"fd00::/8", "fdff::1", true},
      {"fd00::/8", "fe00::1", false},          {"::/0", "8.8.8.8", true},
      {"::ffff:10.0.0.1", "10.0.0.1", true},   {"10.0.0.1", "::ffff:10.0.0.1", true},
      {"10.0.0.1", "", false},                 {"10.0.0.1", "10.0.0.1x", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.entry);
    CAPTURE(row.ip);
    CHECK(trust({row.entry}).contains(row.ip) == row.held);
  }
  CHECK(trust({"10.0.0.1", "10.0.0.2"}).contains("10.0.0.2"));
  CHECK_FALSE(TrustedProxies().contains("127.0.0.1"));
}

TEST_CASE("what is no network is named") {
  for (const std::string entry : {"", "proxy", "10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0/8", "/8",
                                  "10.0.0.0/-1"}) {
    CAPTURE(entry);
    const auto parsed = TrustedProxies::parse({&entry, 1});
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().message == "trusted-proxy: \"" + entry + "\" is neither an address nor a network");
  }
}

TEST_CASE("X-Forwarded-For is believed from a trusted peer only, and only when it is an address") {
  struct Row {
    std::string peer;
    std::optional<std::string_view> forwarded;
    std::string client;
  };
  const Row rows[] = {
      {"10.0.0.1", std::nullopt, "10.0.0.1"},
      {"10.0.0.1", "203.0.113.9", "203.0.113.9"},
      {"10.0.0.1", " 203.0.113.9 , 10.0.0.7", "203.0.113.9"},
      {"10.0.0.1", "203.0.113.9:4711", "203.0.113.9"},
      {"10.0.0.1", "2001:db8::1", "2001:db8::1"},
      {"10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"},
      {"10.0.0.1", "unknown, 203.0.113.9", "10.0.0.1"},
      {"10.0.0.1", "", "10.0.0.1"},
      {"10.0.0.1", "[", "10.0.0.1"},
      {"10.0.0.2", "203.0.113.9", "10.0.0.2"},
      {"", "203.0.113.9", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.peer);
    CHECK(choose_client_ip(trust({"10.0.0.1"}), row.peer, row.forwarded) == row.client);
  }
}

}  // namespace
}  // namespace coderunner
