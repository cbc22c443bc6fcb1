// Role: from root to the unprivileged user that the service runs as, for good.
// Callers: launch.cc.
// Law: before threads exist, and before anything of a request is read.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/result.h"

namespace coderunner {

struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// As root: the account named; otherwise the one this process has.
Result<Account> service_account(const std::string& name);

// As root: becomes that account, without supplementary groups, and proves that there is no way back. In any case no
// program it starts gains privileges (PR_SET_NO_NEW_PRIVS), and no other process of the same user may look into this
// one (PR_SET_DUMPABLE 0: it holds the keys, and a script may run as the same user).
Result<void> drop_to(const Account& account);

}  // namespace coderunner
