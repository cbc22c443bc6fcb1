// Role: the identity change.
// Callers: see drop_user.h.
#include "supervisor/drop_user.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/sys.h"

namespace coderunner {

namespace {

Result<void> change_identity(const Account& account) {
  TRY(sys::retry("setgroups", [] { return ::setgroups(0, nullptr); }));
  TRY(sys::retry("setresgid", [&] { return ::setresgid(account.gid, account.gid, account.gid); }));
  TRY(sys::retry("setresuid", [&] { return ::setresuid(account.uid, account.uid, account.uid); }));
  if (account.uid == 0) return {};  // asked for by name: --user root
  if (::setresuid(0, 0, 0) == 0 || ::setuid(0) == 0 || ::setgid(0) == 0 || ::getuid() == 0 || ::geteuid() == 0) {
    return fail(Fault::kInternal, fmt::format("root's rights come back after becoming {}", account.name));
  }
  return {};
}

}  // namespace

Result<Account> service_account(const std::string& name) {
  if (::geteuid() != 0) {
    const passwd* own = ::getpwuid(::geteuid());
    const std::string shown = own != nullptr ? own->pw_name : fmt::format("uid {}", ::geteuid());
    return Account{shown, ::geteuid(), ::getegid()};
  }
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return fail(Fault::kInternal, fmt::format("--user: no account is named {}", name));
  return Account{name, entry->pw_uid, entry->pw_gid};
}

Result<void> drop_to(const Account& account) {
  if (::geteuid() == 0) TRY(change_identity(account));
  TRY(sys::retry("prctl(PR_SET_NO_NEW_PRIVS)", [] { return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }));
  TRY(sys::retry("prctl(PR_SET_DUMPABLE)", [] { return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }));
  return {};
}

}  // namespace coderunner
