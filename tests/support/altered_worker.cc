// Role: the production worker with one function replaced, so that one layer is missing or one leak is there: shows that
// the service finds out.
// Callers: tests/meson.build links it with worker/main.cc, once for each -DALTERATION, and --wrap of what it replaces.
// Law: a wrapped function has the signature of the one it stands for; its name is that one's, mangled.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "worker/sandbox.h"
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

#if ALTERATION >= 2  // something is left behind whenever a sandbox has been cleared away
Result<void> real_clean(Sandbox*) __asm__("__real__ZN10coderunner7Sandbox5cleanEv");
Result<void> clean_and_leak(Sandbox*) __asm__("__wrap__ZN10coderunner7Sandbox5cleanEv");
Result<void> clean_and_leak(Sandbox* sandbox) {
  const std::string folder = sandbox->folder();
  auto cleaned = real_clean(sandbox);
#if ALTERATION == 2
  (void)::open("/dev/null", O_RDONLY);
#elif ALTERATION == 3
  if (!folder.empty()) ::mkdir(folder.c_str(), 0700);
#else
  if (::fork() == 0) {
    ::close_range(0, ~0U, 0);
    ::setsid();
    for (;;) ::pause();
  }
#endif
  return cleaned;
}
#endif

}  // namespace coderunner::test
