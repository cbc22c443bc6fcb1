// Role: see denials.h.
#include "worker/denials.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <fmt/format.h>

#include "common/child.h"
#include "common/sys.h"
#include "worker/namespaces.h"
#include "worker/privileges.h"
#include "worker/seccomp_filter.h"

namespace coderunner {
namespace {

// A newer kernel may have a longer record than this machine's headers (seccomp_unotify(2), SECCOMP_GET_NOTIF_SIZES).
constexpr std::size_t kRecordBytes = 512;

union Notice {
  seccomp_notif head;
  std::array<std::byte, kRecordBytes> room;
};
union Reply {
  seccomp_notif_resp head;
  std::array<std::byte, kRecordBytes> room;
};

// include/uapi/linux/seccomp.h of Linux 6.6: who asks and who answers take turns on one processor, so that a refused
// call does not have to wake another one up twice. Older kernels refuse the flag.
constexpr unsigned long kTakeTurns = 1;  // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
constexpr unsigned long kSetFlags = SECCOMP_IOW(4, std::uint64_t);

}  // namespace

Denials::Denials(UniqueFd listener) : listener_(std::move(listener)) {
  (void)::ioctl(listener_.get(), kSetFlags, kTakeTurns);
}

// A caller that is killed, or that a signal interrupts, takes its question back: ENOENT, here and when it is answered.
void Denials::answer() {
  for (int i = 0; i < kRound; ++i) {
    pollfd entry{listener_.get(), POLLIN, 0};
    const auto waiting = sys::poll({&entry, 1}, Deadline::in(Millis(0)));
    if (waiting && *waiting == 0) return;
    Notice notice{.room = {}};  // the kernel wants zeros
    const bool asked = waiting && (entry.revents & POLLIN) != 0;
    if (!asked || ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &notice) == -1) {
      if (asked && (sys::last_errno() == ENOENT || sys::interrupted())) continue;
      listener_.reset();  // the last process under this filter has ended
      return;
    }
    note(notice.head.data.nr);
    Reply reply{.room = {}};
    reply.head.id = notice.head.id;
    reply.head.error = -EPERM;
    (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &reply);
  }
}

void Denials::note(int number) {
  const auto place = std::ranges::lower_bound(numbers_, number);
  if (place != numbers_.end() && *place == number) return;
  if (numbers_.size() < kMost) numbers_.insert(place, number);
}

std::vector<std::string> Denials::names() const {
  std::vector<std::string> names;
  for (const int number : numbers_) names.push_back(syscall_name(number));
  std::ranges::sort(names);
  return names;
}

Result<void> try_notifications() {
  seccomp_notif_sizes sizes{};
  TRY(sys::retry("seccomp(SECCOMP_GET_NOTIF_SIZES)",
                 [&] { return ::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes); }));
  if (sizes.seccomp_notif > kRecordBytes || sizes.seccomp_notif_resp > kRecordBytes)
    return fail(Fault::kSandbox, "the kernel's notifications are longer than this program knows");
  Pipe told = TRY(sys::make_pipe());
  Child child = TRY(fork_init());
  if (!child.running()) {
    const Filter all_allowed{.program = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}, .notifies = true};
    const auto done = set_no_new_privileges();
    const auto listener = done ? install_filter(all_allowed) : std::unexpected(done.error());
    if (!listener) (void)sys::write_all(told.write.get(), listener.error().message);
    ::_exit(0);
  }
  told.write.reset();
  const std::string trouble = TRY(sys::read_all(told.read.get(), kRecordBytes));
  TRY(child.wait(Deadline::never()));
  if (!trouble.empty()) return fail(Fault::kSandbox, trouble);
  return {};
}

}  // namespace coderunner
