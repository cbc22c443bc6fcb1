// Role: values <-> frame payloads, driven by the `fields` lists of job.h.
// Callers: session.cc, worker/main.cc, run_job.cc; the tests and the fuzzer.
// Law: lengths are checked before anything is allocated; trailing bytes and unknown enumerators are errors.
//
// Format: integers little-endian in their own width; bool and enums one byte; a string or list is a u32 count and its
// items; an optional is a bool and, when true, the value; a struct is its fields in order.
#pragma once

#include <bit>
#include <concepts>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/frame.h"
#include "common/result.h"

namespace coderunner {

static_assert(std::endian::native == std::endian::little, "the wire format is the memory format of integers");

class WireWriter {
 public:
  template <class... T> void operator()(const T&... values) { (put(values), ...); }
  std::string take() { return std::move(out_); }

 private:
  template <std::integral T> void put(const T& value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class T> requires std::is_enum_v<T> void put(const T& value) { out_.push_back(static_cast<char>(value)); }
  void put(const std::string& value) {
    put(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }
  template <class T> void put(const std::vector<T>& items) {
    put(static_cast<std::uint32_t>(items.size()));
    for (const T& item : items) put(item);
  }
  template <class A, class B> void put(const std::pair<A, B>& value) { (*this)(value.first, value.second); }
  template <class T> void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T> requires std::is_class_v<T> void put(const T& value) { fields(*this, const_cast<T&>(value)); }

  std::string out_;
};

class WireReader {
 public:
  explicit WireReader(std::string_view in) : in_(in) {}
  template <class... T> void operator()(T&... values) { (get(values), ...); }
  // True when every value was there and nothing follows.
  [[nodiscard]] bool finished() const { return ok_ && in_.empty(); }

 private:
  bool take(std::size_t count, const char*& from) {
    if (!ok_ || count > in_.size()) return ok_ = false;
    from = in_.data();
    in_.remove_prefix(count);
    return true;
  }
  template <std::integral T> void get(T& value) {
    const char* from = nullptr;
    if (take(sizeof value, from)) std::memcpy(&value, from, sizeof value);
  }
  void get(bool& value) {
    std::uint8_t byte = 0;
    get(byte);
    if (byte > 1) ok_ = false;
    value = byte == 1;
  }
  template <class T> requires std::is_enum_v<T> void get(T& value) {
    std::uint8_t byte = 0;
    get(byte);
    if (byte > highest(T{})) ok_ = false;
    if (ok_) value = static_cast<T>(byte);
  }
  void get(std::string& value) {
    std::uint32_t count = 0;
    get(count);
    const char* from = nullptr;
    if (take(count, from)) value.assign(from, count);
  }
  template <class T> void get(std::vector<T>& items) {
    std::uint32_t count = 0;
    get(count);
    if (count > in_.size()) ok_ = false;  // every item takes a byte at least
    items.clear();
    for (std::uint32_t i = 0; ok_ && i < count; ++i) get(items.emplace_back());
  }
  template <class A, class B> void get(std::pair<A, B>& value) { (*this)(value.first, value.second); }
  template <class T> void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (!ok_ || !present) return;
    T item{};  // and not value.emplace(): of that GCC 12 at -O3 warns as maybe uninitialized
    get(item);
    value = std::move(item);
  }
  template <class T> requires std::is_class_v<T> void get(T& value) { fields(*this, value); }

  std::string_view in_;
  bool ok_ = true;
};

template <class T>
std::string encode(const T& value) {
  WireWriter writer;
  writer(value);
  return writer.take();
}

// Fault::kWorkerLost: whoever sent this does not speak the protocol.
template <class T>
Result<T> decode(std::string_view payload) {
  T value;
  WireReader reader(payload);
  reader(value);
  if (!reader.finished()) return fail(Fault::kWorkerLost, "malformed payload");
  return value;
}

}  // namespace coderunner
