// Role: prctl(2), capset(2) and two /proc files.
// Callers: see privileges.h.
// Law: raw capget and capset, as libc has no wrappers and libcap would add nothing.
#include "worker/privileges.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "common/sys.h"

namespace coderunner {

namespace {

using CapabilityData = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

constexpr int kMostCapabilities = 64;  // bits in the kernel's sets; prctl answers EINVAL behind the last one it has
constexpr unsigned long kLockedBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                      SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

Result<void> control(std::string_view what, int option, unsigned long argument = 0, unsigned long second = 0) {
  TRY(sys::retry(what, [&] { return ::prctl(option, argument, second, 0UL, 0UL); }));
  return {};
}

Result<CapabilityData> read_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilityData data{};
  TRY(sys::retry("capget", [&] { return ::syscall(SYS_capget, &header, data.data()); }));
  return data;
}

Result<bool> may_change_sets() {
  const CapabilityData data = TRY(read_capabilities());
  return (data[CAP_TO_INDEX(CAP_SETPCAP)].effective & CAP_TO_MASK(CAP_SETPCAP)) != 0;
}

Result<void> empty_bounding_set() {
  for (int capability = 0; capability < kMostCapabilities; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, static_cast<unsigned long>(capability), 0UL, 0UL, 0UL) == 0) continue;
    if (sys::last_errno() == EINVAL) break;
    return std::unexpected(sys::last_error("prctl(PR_CAPBSET_DROP)"));
  }
  return {};
}

Result<void> check_nothing_left() {
  const CapabilityData data = TRY(read_capabilities());
  for (const auto& half : data) {
    if (half.effective != 0 || half.permitted != 0 || half.inheritable != 0) {
      return fail(Fault::kSandbox, "capset: capabilities are left");
    }
  }
  return {};
}

}  // namespace

Result<void> set_no_new_privileges() { return control("prctl(PR_SET_NO_NEW_PRIVS)", PR_SET_NO_NEW_PRIVS, 1); }

Result<void> lock_securebits() {
  if (!TRY(may_change_sets())) return {};
  return control("prctl(PR_SET_SECUREBITS)", PR_SET_SECUREBITS, kLockedBits);
}

Result<void> drop_capabilities() {
  if (TRY(may_change_sets())) TRY(empty_bounding_set());
  TRY(control("prctl(PR_CAP_AMBIENT)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL));
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilityData none{};
  TRY(sys::retry("capset", [&] { return ::syscall(SYS_capset, &header, none.data()); }));
  return {};
}

Result<void> keep_over_exec(std::initializer_list<int> capabilities) {
  TRY(set_no_new_privileges());
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilityData kept{};
  for (const int capability : capabilities) kept[CAP_TO_INDEX(capability)].permitted |= CAP_TO_MASK(capability);
  for (auto& half : kept) half.effective = half.inheritable = half.permitted;
  // In this order: what is inheritable has to be in the bounding set, and emptying that needs CAP_SETPCAP.
  CapabilityData for_now = TRY(read_capabilities());
  for (std::size_t half = 0; half < kept.size(); ++half) for_now[half].inheritable = kept[half].inheritable;
  TRY(sys::retry("capset(inheritable)", [&] { return ::syscall(SYS_capset, &header, for_now.data()); }));
  for (const int capability : capabilities)
    TRY(control("prctl(PR_CAP_AMBIENT_RAISE)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE,
                static_cast<unsigned long>(capability)));
  if (TRY(may_change_sets())) TRY(empty_bounding_set());
  TRY(sys::retry("capset", [&] { return ::syscall(SYS_capset, &header, kept.data()); }));
  return {};
}

Result<void> drop_privileges() {
  TRY(set_no_new_privileges());
  TRY(lock_securebits());  // while CAP_SETPCAP is there
  TRY(drop_capabilities());
  return check_nothing_left();
}

Result<void> set_dumpable(Dumpable dumpable) {
  return control("prctl(PR_SET_DUMPABLE)", PR_SET_DUMPABLE, static_cast<unsigned long>(dumpable));
}

Result<void> set_oom_score_adjustment(int adjustment) {
  return sys::write_file("/proc/self/oom_score_adj", fmt::format("{}", adjustment));
}

void set_usual_umask() { ::umask(022); }

}  // namespace coderunner
