// Role: pins the format of payloads, and shows that every member of job.h crosses the border.
// Law: members are compared through structured bindings, which do not compile when a struct gains one, and not through
// the `fields` lists that are under test.
#include "common/wire.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <tuple>

#include "common/job.h"
#include "tests/support/allocations.h"

namespace coderunner {

// ---- a struct with each kind of member

namespace {

using namespace std::string_literals;

struct Inner {
  std::uint8_t small = 0;
  std::string text;
};
struct EachKind {
  bool yes = false;
  std::uint8_t u8 = 0;
  std::uint16_t u16 = 0;
  std::uint32_t u32 = 0;
  std::uint64_t u64 = 0;
  std::int32_t negative = 0;
  Verdict verdict = Verdict::kOk;
  std::string text;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::optional<Inner> none;
  std::optional<Inner> some;
  Inner inner;
};
template <class A> void fields(A& a, Inner& v) { a(v.small, v.text); }
template <class A> void fields(A& a, EachKind& v) {
  a(v.yes, v.u8, v.u16, v.u32, v.u64, v.negative, v.verdict, v.text, v.list, v.pairs, v.none, v.some, v.inner);
}

// ---- all members of each struct of job.h, as a tuple of references

auto members(const Limits& v) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = v;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
}
auto members(const WorkerSetup& v) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = v;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o);
}
auto members(const JobSpec& v) {
  const auto& [a, b, c, d, e, f] = v;
  return std::tie(a, b, c, d, e, f);
}
auto members(const FileHeader& v) {
  const auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(const CancelOrder& v) {
  const auto& [a] = v;
  return std::tie(a);
}
auto members(const LayerState& v) {
  const auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(const ReadyReport& v) {
  const auto& [a, b, c, d, e, f, g] = v;
  return std::tie(a, b, c, d, e, f, g);
}
auto members(const ExceptionInfo& v) {
  const auto& [a, b, c, d, e] = v;
  return std::tie(a, b, c, d, e);
}
auto members(const ArtifactHeader& v) {
  const auto& [a, b, c] = v;
  return std::tie(a, b, c);
}
auto members(const ExitReport& v) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = v;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
}

template <class T> concept HasMembers = requires(const T& v) { members(v); };

template <class T> bool same(const T& a, const T& b) { return a == b; }
template <HasMembers T> bool same(const T& a, const T& b);
template <HasMembers T> bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) { return same(x, y); });
}
template <HasMembers T> bool same(const std::optional<T>& a, const std::optional<T>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
template <HasMembers T> bool same(const T& a, const T& b) {
  const auto left = members(a), right = members(b);
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return (same(std::get<I>(left), std::get<I>(right)) && ...);
  }(std::make_index_sequence<std::tuple_size_v<decltype(left)>>());
}

// ---- one of each struct, no member at its default and no two alike, so that no two can be taken for one another

Limits make_limits() { return {101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 1ULL << 63}; }

WorkerSetup make_setup() {
  return {.index = 7,
          .sandbox = SandboxMode::kReduced,
          .runner = RunnerMode::kWarm,
          .network = NetworkMode::kHost,
          .cores = 3,
          .python = "/usr/bin/python3",
          .read_only_paths = {"/usr/lib", "/lib", ""},
          .packages = "/opt/site-packages",
          .bootstrap_name = "sitecustomize.cpython-311.pyc",
          .bootstrap_code = std::string("\0code", 5),
          .preload = {"json", "re"},
          .preload_packages = {"numpy"},
          .temp_dir = "/var/tmp",
          .cgroup_dirs = {"/sys/fs/cgroup/a"},
          .limits = make_limits()};
}
JobSpec make_job() {
  return {.entry_point = "pkg/main.py",
          .args = {"-v", "", "\xFF not UTF-8", "nul\0inside"s},
          .env = {{"A", "1"}, {"B", ""}, {"C", "three"}},
          .timeout_ms = 0x1122334455667788,
          .nested_artifacts = true,
          .packages = true};
}
FileHeader make_file() { return {.path = "input/a.csv", .bytes = 5'000'000'000, .read_only = true}; }
CancelOrder make_cancel() { return {.reason = CancelReason::kDrain}; }
ReadyReport make_ready() {
  return {.level = SandboxLevel::kFull,
          .python = "3.11.2",
          .layers = {{"namespaces", true, "user, pid"}, {"memory", false, "cgroup: EROFS"}},
          .leaks = 3,
          .templates = true,
          .counts = {.births = 4, .losses = 1, .forks = 70'000},
          .template_pids = {4'194'303, 7}};
}
ArtifactHeader make_artifact() { return {.name = "dir/plot.png", .bytes = 20'971'520, .skipped = "too large"}; }
ExitReport make_exit() {
  return {.exit_code = -2,
          .verdict = Verdict::kKilled,
          .signal = 9,
          .limit = LimitName::kProcesses,
          .reason = "worker lost",
          .exception = ExceptionInfo{"ValueError", "bad", "script.py", 3, "int('x')"},
          .stdout_bytes = 11,
          .stderr_bytes = 12,
          .artifacts_refused = true,
          .warm = true,
          .denied = {"connect", "ptrace"},
          .setup_us = 13,
          .run_us = 14,
          .collect_us = 15,
          .cpu_us = 16,
          .peak_memory_bytes = 17};
}

template <class F> void for_each_struct(F&& check) {
  check(make_limits());
  check(make_setup());
  check(make_job());
  check(make_file());
  check(make_cancel());
  check(make_ready().layers.at(0));
  check(make_ready());
  check(*make_exit().exception);
  check(make_artifact());
  check(make_exit());
}

}  // namespace

TEST_CASE("each kind of member has the bytes that the contract says") {
  const EachKind value{.yes = true,
                       .u8 = 0xAB,
                       .u16 = 0x1234,
                       .u32 = 0xDEADBEEF,
                       .u64 = 0x0102030405060708,
                       .negative = -2,
                       .verdict = Verdict::kOutOfMemory,
                       .text = "h\xC3\xA9",
                       .list = {"", "ab"},
                       .pairs = {{"k", "v"}},
                       .none = std::nullopt,
                       .some = Inner{5, "x"},
                       .inner = {6, ""}};
  const std::string bytes =
      "\x01"s "\xAB"s "\x34\x12"s "\xEF\xBE\xAD\xDE"s "\x08\x07\x06\x05\x04\x03\x02\x01"s "\xFE\xFF\xFF\xFF"s "\x03"s
      "\x03\x00\x00\x00" "h\xC3\xA9"s
      "\x02\x00\x00\x00" "\x00\x00\x00\x00" "\x02\x00\x00\x00" "ab"s
      "\x01\x00\x00\x00" "\x01\x00\x00\x00" "k" "\x01\x00\x00\x00" "v"s
      "\x00"s
      "\x01" "\x05" "\x01\x00\x00\x00" "x"s
      "\x06" "\x00\x00\x00\x00"s;
  CHECK(encode(value) == bytes);
  const auto back = decode<EachKind>(bytes);
  REQUIRE(back.has_value());
  CHECK(back->yes);
  CHECK(back->u8 == 0xAB);
  CHECK(back->u16 == 0x1234);
  CHECK(back->u32 == 0xDEADBEEF);
  CHECK(back->u64 == 0x0102030405060708);
  CHECK(back->negative == -2);
  CHECK(back->verdict == Verdict::kOutOfMemory);
  CHECK(back->text == "h\xC3\xA9");
  CHECK(back->list == std::vector<std::string>{"", "ab"});
  CHECK(back->pairs == value.pairs);
  CHECK_FALSE(back->none.has_value());
  REQUIRE(back->some.has_value());
  CHECK(back->some->small == 5);
  CHECK(back->some->text == "x");
  CHECK(back->inner.small == 6);
  CHECK(back->inner.text.empty());
}

TEST_CASE("members go in the order of the contract") {
  CHECK(encode(make_cancel()) == "\x01"s);
  CHECK(encode(FileHeader{"a", 2, true}) == "\x01\x00\x00\x00" "a" "\x02\x00\x00\x00\x00\x00\x00\x00" "\x01"s);
  CHECK(encode(ArtifactHeader{"a", 2, "b"}) ==
        "\x01\x00\x00\x00" "a" "\x02\x00\x00\x00\x00\x00\x00\x00" "\x01\x00\x00\x00" "b"s);
  CHECK(encode(make_exit())
            .starts_with("\xFE\xFF\xFF\xFF"
                         "\x04"
                         "\x09\x00\x00\x00"
                         "\x05"
                         "\x0B\x00\x00\x00"
                         "worker"s));
}

TEST_CASE("every member of every struct crosses the border") {
  for_each_struct([]<class T>(const T& value) {
    const auto back = decode<T>(encode(value));
    REQUIRE(back.has_value());
    CHECK(same(*back, value));
    CHECK_FALSE(same(T{}, value));
  });
  const auto without = decode<ExitReport>(encode(ExitReport{}));
  REQUIRE(without.has_value());
  CHECK(same(*without, ExitReport{}));
}

TEST_CASE("every truncation of a payload is refused") {
  for_each_struct([]<class T>(const T& value) {
    const std::string bytes = encode(value);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      CAPTURE(length);
      const auto back = decode<T>(std::string_view(bytes).substr(0, length));
      REQUIRE_FALSE(back.has_value());
      CHECK(back.error().fault == Fault::kWorkerLost);
    }
  });
}

TEST_CASE("bytes after the last member are refused") {
  for_each_struct([]<class T>(const T& value) {
    for (const std::string& tail : {"\0"s, "\1"s, "more"s}) CHECK_FALSE(decode<T>(encode(value) + tail).has_value());
  });
}

TEST_CASE("a payload with any byte changed is refused, or is another value's own payload") {
  for_each_struct([]<class T>(const T& value) {
    const std::string bytes = encode(value);
    for (std::size_t place = 0; place < bytes.size(); ++place) {
      for (int change = 0; change < 256; ++change) {
        std::string changed = bytes;
        changed[place] = static_cast<char>(change);
        const auto back = decode<T>(changed);
        if (!back) continue;
        const bool own = encode(*back) == changed;  // no second spelling: not of true, not of an enumerator
        if (!own) FAIL_CHECK("byte " << place << " as " << change << " is taken for something else");
      }
    }
  });
}

template <class E> struct One {
  E value{};
};
template <class A, class E> void fields(A& a, One<E>& v) { a(v.value); }

TEST_CASE_TEMPLATE("an enumerator is taken up to the highest, and none above", E, SandboxMode, RunnerMode, NetworkMode,
                   CancelReason, SandboxLevel, Verdict, LimitName) {
  int last = 1;
  if (std::is_same_v<E, SandboxMode>) last = static_cast<int>(SandboxMode::kReduced);
  if (std::is_same_v<E, Verdict>) last = static_cast<int>(Verdict::kInternalError);
  if (std::is_same_v<E, LimitName>) last = static_cast<int>(LimitName::kProcesses);
  for (int byte = 0; byte < 256; ++byte) {
    CAPTURE(byte);
    const auto back = decode<One<E>>(std::string(1, static_cast<char>(byte)));
    REQUIRE(back.has_value() == (byte <= last));
    if (back) CHECK(static_cast<int>(back->value) == byte);
  }
}

TEST_CASE("a bool is 0 or 1") {
  for (int byte = 0; byte < 256; ++byte) {
    CAPTURE(byte);
    const auto back = decode<One<bool>>(std::string(1, static_cast<char>(byte)));
    REQUIRE(back.has_value() == (byte <= 1));
    if (back) CHECK(back->value == (byte == 1));
  }
  CHECK_FALSE(decode<One<std::optional<bool>>>("\x02\x01"s).has_value());
}

TEST_CASE_TEMPLATE("a count that the payload can not hold is refused before anything is allocated", T, std::string,
                   std::vector<std::string>, std::vector<std::uint64_t>, std::vector<LayerState>,
                   std::vector<std::pair<std::string, std::string>>, std::optional<std::string>) {
  for (const std::string& count :
       {"\xFF\xFF\xFF\xFF"s, "\xFF\xFF\xFF\x7F"s, "\x00\x00\x00\x01"s, "\x10\x00\x00\x00"s}) {
    std::string payload = count + "some bytes";
    if (std::is_same_v<T, std::optional<std::string>>) payload.insert(0, 1, '\1');
    test::reset_largest_allocation();
    const bool taken = decode<One<T>>(payload).has_value();
    CHECK(test::largest_allocation() < 256);
    CHECK_FALSE(taken);
  }
}

TEST_CASE("a list of a full frame's length costs no more than its items") {
  // The most that 64 KiB can claim: as many items as bytes. The first item that is not there ends it.
  std::string payload(kMaxPayload, '\0');
  payload[0] = '\xFC', payload[1] = '\xFF';  // 65,532 strings, of which 16,383 are there
  test::reset_largest_allocation();
  CHECK_FALSE(decode<One<std::vector<std::string>>>(payload).has_value());
  CHECK(test::largest_allocation() <= 32'768 * sizeof(std::string));
}

}  // namespace coderunner
