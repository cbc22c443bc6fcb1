// Role: the production worker with one function replaced, so that one layer is missing or one leak is there: shows that
// the service finds out.
// Callers: tests/meson.build links it with worker/main.cc, once for each -DALTERATION, and --wrap of what it replaces.
// Law: a wrapped function has the signature of the one it stands for; its name is that one's, mangled.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/seccomp_filter.h"

namespace coderunner::test {

#if ALTERATION == 1  // no filter for system calls
Result<UniqueFd> install_filter(const Filter&) __asm__("__wrap__ZN10coderunner14install_filterERKNS_6FilterE");
Result<UniqueFd> install_filter(const Filter& filter) {
  if (!filter.notifies) return UniqueFd();
  sock_filter everything = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);  // and nothing for the listener to hear
  const sock_fprog program{1, &everything};
  return UniqueFd(static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program)));
}
#endif

}  // namespace coderunner::test
