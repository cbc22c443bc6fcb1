// Role: Landlock through its three system calls; glibc 2.36 has no wrappers.
// Callers: see landlock.h.
// Law: a ruleset handles every right the running kernel knows of, up to kNewestAbi, and no other (EINVAL otherwise).
#include "worker/landlock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "common/sys.h"

namespace coderunner {

namespace {

// include/uapi/linux/landlock.h of Linux 6.12; headers of Linux 6.1 end at ABI 2.
constexpr std::uint64_t kTruncate = 1ULL << 14;            // ABI 3, Linux 6.2
constexpr std::uint64_t kDeviceIoctl = 1ULL << 15;         // ABI 5, Linux 6.10
constexpr std::uint64_t kBindTcp = 1ULL << 0;              // ABI 4, Linux 6.7
constexpr std::uint64_t kConnectTcp = 1ULL << 1;           // ABI 4
constexpr std::uint64_t kScopeAbstractSocket = 1ULL << 0;  // ABI 6, Linux 6.12
constexpr std::uint64_t kScopeSignal = 1ULL << 1;          // ABI 6
constexpr unsigned kNewestAbi = 6;                         // later ones bring logging flags, no right used here

struct RulesetAttr {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kChange = LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                                  LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
                                  LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t kMakeDevice = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
// Truncation because open(…, "w") asks for it; ioctl because open() in Python asks whether it is a terminal.
constexpr std::uint64_t kUseDevice =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kDeviceIoctl;
// The rights that make sense for a file; with others the kernel refuses a rule for one (EINVAL).
constexpr std::uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | kUseDevice;

constexpr std::uint64_t handled_files(unsigned abi) {
  std::uint64_t all = kRead | kChange | kMakeDevice | kDeviceIoctl;
  if (abi < 2) all &= ~static_cast<std::uint64_t>(LANDLOCK_ACCESS_FS_REFER);
  if (abi < 3) all &= ~kTruncate;
  if (abi < 5) all &= ~kDeviceIoctl;
  return all;
}

constexpr RulesetAttr ruleset_attr(NetworkMode network, unsigned abi) {
  RulesetAttr attr{.handled_access_fs = handled_files(abi)};
  if (abi >= 4 && network == NetworkMode::kNone) attr.handled_access_net = kBindTcp | kConnectTcp;
  if (abi >= 6) attr.scoped = kScopeAbstractSocket | kScopeSignal;
  return attr;
}

// An older kernel takes a struct longer than its own when the members it does not know are 0.
Result<UniqueFd> create_ruleset(const RulesetAttr& attr) {
  const long fd = TRY(sys::retry("landlock_create_ruleset", [&] {
    return ::syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
  }));
  return UniqueFd(static_cast<int>(fd));
}

Result<void> add_rule(int ruleset, int object, std::uint64_t rights, std::string_view path) {
  const landlock_path_beneath_attr rule{.allowed_access = rights, .parent_fd = object};
  TRY(sys::retry(fmt::format("landlock_add_rule({})", path), [&] {
    return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  }));
  return {};
}

enum class Missing { kSkip, kFail };

Result<void> allow_path(int ruleset, const std::string& path, std::uint64_t rights, Missing missing) {
  const std::string call = fmt::format("open({})", path);  // before the call: formatting may change errno
  const UniqueFd object(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!object.valid()) {
    const int cause = sys::last_errno();
    if (missing == Missing::kSkip && (cause == ENOENT || cause == ENOTDIR)) return {};
    return std::unexpected(sys::last_error(call));
  }
  struct stat facts {};
  TRY(sys::retry("fstat", [&] { return ::fstat(object.get(), &facts); }));
  if (!S_ISDIR(facts.st_mode)) rights &= kOfFiles;
  return add_rule(ruleset, object.get(), rights, path);
}

}  // namespace

Result<unsigned> query_landlock_abi() {
  const long answer = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (answer >= 0) return static_cast<unsigned>(answer);
  const int cause = sys::last_errno();
  // ENOSYS: not built in; EOPNOTSUPP: not among the lsm= of the boot; EPERM: a container's own filter refuses it.
  if (cause == ENOSYS || cause == EOPNOTSUPP || cause == EPERM) return 0U;
  return std::unexpected(sys::last_error("landlock_create_ruleset"));
}

std::string landlock_detail(unsigned abi) {
  if (abi == 0) return "not available (Linux 5.13 with landlock among lsm=)";
  struct Gap {
    unsigned abi;
    std::string_view what;
  };
  static constexpr Gap kGaps[] = {
      {2, "renames between folders, always refused (Linux 5.19)"},
      {3, "truncation (Linux 6.2)"},
      {4, "TCP (Linux 6.7)"},
      {5, "device ioctls (Linux 6.10)"},
      {6, "signals and abstract sockets (Linux 6.12)"},
  };
  std::string detail = fmt::format("ABI {}", abi);
  std::string_view separator = "; not covered: ";
  for (const Gap& gap : kGaps) {
    if (abi >= gap.abi) continue;
    detail += fmt::format("{}{}", separator, gap.what);
    separator = ", ";
  }
  return detail;
}

Result<UniqueFd> make_landlock_ruleset(const LandlockRules& rules, unsigned abi) {
  if (abi == 0) return fail(Fault::kSandbox, "landlock: not available on this kernel");
  abi = std::min(abi, kNewestAbi);
  UniqueFd ruleset = TRY(create_ruleset(ruleset_attr(rules.network, abi)));
  const std::uint64_t known = handled_files(abi);
  for (const std::string& path : rules.read_only) {
    TRY(allow_path(ruleset.get(), path, kRead & known, Missing::kSkip));
  }
  for (const std::string& path : rules.read_write) {
    TRY(allow_path(ruleset.get(), path, (kRead | kChange) & known, Missing::kFail));
  }
  for (const std::string_view path : kSharedDevices) {
    TRY(allow_path(ruleset.get(), std::string(path), kUseDevice & known, Missing::kSkip));
  }
  for (const std::string_view path : kMachineFacts) {
    TRY(allow_path(ruleset.get(), std::string(path), kRead & known, Missing::kSkip));
  }
  return ruleset;
}

// A rule binds to the inode, and /proc/self leads to the directory of whoever walks it. When the kernel drops that
// inode under memory pressure the rule is lost with it, and access refused: the safe side.
Result<void> allow_own_proc(int ruleset) {
  return allow_path(ruleset, "/proc/self", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, Missing::kSkip);
}

Result<void> enforce_landlock(int ruleset) {
  TRY(sys::retry("landlock_restrict_self", [&] { return ::syscall(SYS_landlock_restrict_self, ruleset, 0); }));
  return {};
}

}  // namespace coderunner
