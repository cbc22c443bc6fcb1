// Role: see pin_ring.h.
#include "worker/pin_ring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace coderunner {

PinRing PinRing::make() {
  PinRing made;
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_R_DISABLED;
  made.ring_.reset(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));  // with O_CLOEXEC
  return made;
}

void PinRing::release() const {
  if (!ring_.valid()) return;
  // ENXIO: nothing was registered.
  while (::syscall(SYS_io_uring_register, ring_.get(), IORING_UNREGISTER_BUFFERS, nullptr, 0) == -1 && errno == EINTR) {
  }
}

}  // namespace coderunner
