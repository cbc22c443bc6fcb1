// Role: puts a filter on, by seccomp(2). The programs are those of seccomp_programs.cc.
// Callers: see seccomp_filter.h.
#include "worker/seccomp_filter.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sys.h"

namespace coderunner {

Result<UniqueFd> install_filter(const Filter& filter) {
  const sock_fprog program{static_cast<unsigned short>(filter.program.size()),
                           const_cast<sock_filter*>(filter.program.data())};
  // No SECCOMP_FILTER_FLAG_SPEC_ALLOW: before Linux 5.16 a filter switches speculative store bypass off, and what that
  // costs is what code of strangers costs there; since 5.16 there is nothing to save. No TSYNC: one thread.
  const unsigned flags = filter.notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
  const long answer = TRY(sys::retry("seccomp(SECCOMP_SET_MODE_FILTER)", [&] {
    return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  }));
  return filter.notifies ? UniqueFd(static_cast<int>(answer)) : UniqueFd();
}

}  // namespace coderunner
