// Role: who may run code: a row each for host, origin and key, allowed beside refused.
#include "supervisor/gate.h"

#include <doctest/doctest.h>

namespace coderunner {
namespace {

constexpr Fault kAllowed = Fault::kInternal;  // in rows: not refused; never a fault of the gate
constexpr Fault kForbidden = Fault::kForbidden;
constexpr Fault kUnauthorized = Fault::kUnauthorized;

Fault fault_of(const GateRequest& request, const GateConfig& config) {
  const auto result = check_gate(request, config);
  return result ? kAllowed : result.error().fault;
}

TEST_CASE("an origin is scheme, host and port") {
  struct Row {
    std::string_view text;
    std::optional<Origin> origin;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"http://a.example", Origin{"http", "a.example", 80}},
           {"HTTPS://A.Example", Origin{"https", "a.example", 443}},
           {"https://a.example:8443", Origin{"https", "a.example", 8443}},
           {"http://127.0.0.1:7071", Origin{"http", "127.0.0.1", 7071}},
           {"http://[::1]:7071", Origin{"http", "::1", 7071}},
           {"http://[::1]", Origin{"http", "::1", 80}},
           {"", {}}, {"null", {}}, {"*", {}}, {"a.example", {}}, {"http", {}}, {"http:", {}}, {"http://", {}},
           {"ftp://a.example", {}}, {"file://", {}}, {"http://a.example/", {}}, {"http://a.example/x", {}},
           {"http://a.example:", {}}, {"http://a.example:0", {}}, {"http://a.example:65536", {}},
           {"http://a.example:80x", {}}, {"http://a.example:+80", {}}, {"http://u@a.example", {}},
           {"http://a.example?", {}}, {"http://a example", {}}, {"http://[::1", {}}, {"http://[]", {}},
           {"http://[a.example]", {}}, {"http://[::1]x", {}}, {"http://a.example http://b.example", {}},
       }) {
    CAPTURE(row.text);
    CHECK(parse_origin(row.text) == row.origin);
  }
}

TEST_CASE("loopback is localhost, 127.0.0.0/8 and ::1") {
  for (const std::string_view host : {"localhost", "127.0.0.1", "127.0.0.0", "127.255.255.255", "::1"}) {
    CAPTURE(host);
    CHECK(is_loopback_host(host));
  }
  for (const std::string_view host : {"", "localhost.evil.example", "126.255.255.255", "128.0.0.1", "127.1", "0.0.0.0",
                                      "127.0.0.1.evil.example", "::", "::2", "example"}) {
    CAPTURE(host);
    CHECK_FALSE(is_loopback_host(host));
  }
}

TEST_CASE("on a loopback listener a foreign host is refused") {
  const GateConfig loopback{.keys = {}, .allow_origins = {"https://app.example:8443"}, .loopback = true};
  GateConfig open = loopback;
  open.loopback = false;
  for (const std::string_view host : {"localhost", "LOCALHOST:1", "127.0.0.1:7071", "127.9.9.9", "[::1]", "[::1]:7071",
                                      "app.example", "app.example:1"}) {
    CAPTURE(host);
    CHECK(fault_of({.host = host}, loopback) == kAllowed);
  }
  for (const std::string_view host : {"evil.example", "evil.example:7071", "localhost.evil.example", "10.0.0.1",
                                      "[::2]", "127.0.0.1.evil.example", "", ":7071", "localhost:", "localhost:x",
                                      "localhost/", "::1", "localhost evil.example", "x.app.example"}) {
    CAPTURE(host);
    CHECK(fault_of({.host = host}, loopback) == kForbidden);
    CHECK(fault_of({.host = host}, open) == kAllowed);
  }
  CHECK(fault_of({}, loopback) == kAllowed);  // HTTP/1.0: no browser
}

TEST_CASE("an origin must be the service's own or an allowed one") {
  const GateConfig config{.keys = {}, .allow_origins = {"https://app.example", "http://dev.example:3000"}};
  struct Row {
    std::string_view origin;
    std::optional<std::string_view> host;
    Fault fault;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"http://run.example:7071", "run.example:7071", kAllowed},
           {"http://run.example", "run.example", kAllowed},
           {"http://run.example", "RUN.example:80", kAllowed},
           {"https://run.example", "run.example", kAllowed},
           {"https://run.example:443", "run.example", kAllowed},
           {"http://[::1]:7071", "[::1]:7071", kAllowed},
           {"https://app.example", "run.example", kAllowed},
           {"https://APP.example:443", "run.example", kAllowed},
           {"http://dev.example:3000", std::nullopt, kAllowed},
           {"http://run.example:7072", "run.example:7071", kForbidden},
           {"http://run.example", "run.example:7071", kForbidden},
           {"https://run.example", "run.example:80", kForbidden},
           {"http://evil.example", "run.example", kForbidden},
           {"http://run.example.evil.example", "run.example", kForbidden},
           {"http://app.example", "run.example", kForbidden},
           {"https://x.app.example", "run.example", kForbidden},
           {"http://dev.example", "run.example", kForbidden},
           {"null", "run.example", kForbidden},
           {"", "run.example", kForbidden},
           {"http://run.example/", "run.example", kForbidden},
           {"http://run.example", std::nullopt, kForbidden},
           {"http://run.example", "run.example:x", kForbidden},
       }) {
    CAPTURE(row.origin);
    CHECK(fault_of({.origin = row.origin, .host = row.host}, config) == row.fault);
  }
  CHECK(fault_of({.host = "run.example"}, config) == kAllowed);  // no browser
}

TEST_CASE("with keys set one of them must be shown") {
  const GateConfig config{.keys = {"first-key", "second"}, .allow_origins = {}};
  struct Row {
    GateRequest request;
    Fault fault;
  };
  for (const Row& row : std::initializer_list<Row>{
           {{.functions_key = "first-key"}, kAllowed},
           {{.functions_key = "second"}, kAllowed},
           {{.code = "first-key"}, kAllowed},
           {{.authorization = "Bearer first-key"}, kAllowed},
           {{.authorization = "bearer   second"}, kAllowed},
           {{.functions_key = "wrong", .code = "second"}, kAllowed},
           {{}, kUnauthorized},
           {{.functions_key = ""}, kUnauthorized},
           {{.functions_key = "first-ke"}, kUnauthorized},
           {{.functions_key = "first-key "}, kUnauthorized},
           {{.functions_key = "first-keyx"}, kUnauthorized},
           {{.functions_key = "FIRST-KEY"}, kUnauthorized},
           {{.functions_key = "first-key,second"}, kUnauthorized},
           {{.functions_key = "Bearer first-key"}, kUnauthorized},
           {{.code = "wrong"}, kUnauthorized},
           {{.authorization = "first-key"}, kUnauthorized},
           {{.authorization = "Basic first-key"}, kUnauthorized},
           {{.authorization = "Bearer"}, kUnauthorized},
           {{.authorization = "Bearer "}, kUnauthorized},
           {{.authorization = "Bearerfirst-key"}, kUnauthorized},
       }) {
    CAPTURE(row.request.functions_key.value_or("-"));
    CAPTURE(row.request.authorization.value_or("-"));
    CAPTURE(row.request.code.value_or("-"));
    CHECK(fault_of(row.request, config) == row.fault);
  }
  CHECK(fault_of({.functions_key = "wrong"}, {}) == kAllowed);  // no keys: nothing to be wrong about
}

TEST_CASE("a key does not help a foreign page, and no message repeats what was sent") {
  const GateConfig config{.keys = {"right"}, .allow_origins = {}, .loopback = true};
  const GateRequest foreign_page{.functions_key = "right", .origin = "http://evil.example", .host = "localhost"};
  CHECK(fault_of(foreign_page, config) == kForbidden);
  CHECK(fault_of({.functions_key = "right", .host = "evil.example"}, config) == kForbidden);
  CHECK(fault_of({.functions_key = "right", .host = "localhost"}, config) == kAllowed);
  for (const GateRequest& request : std::initializer_list<GateRequest>{
           {.functions_key = "SENT"}, {.origin = "http://SENT", .host = "localhost"}, {.host = "SENT"}}) {
    const auto result = check_gate(request, config);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().message.find("SENT") == std::string::npos);
    CHECK(result.error().message.find("right") == std::string::npos);
  }
}

}  // namespace
}  // namespace coderunner
