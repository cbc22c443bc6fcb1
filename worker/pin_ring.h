// Role: has fork(2) copy chosen pages of a process at once, instead of sharing them until somebody writes to one.
// Callers: jail.cc makes one for each template; template.py registers, warm_up.cc releases.
// Law: it saves time, and nothing else. Where it can not be had (a kernel without io_uring, or one whose io_uring is
// switched off, as in most containers; too little RLIMIT_MEMLOCK) runners fetch their pages themselves (rehearsal.py).
//
// A page that is pinned for direct access by a device must stay where it is, so a child gets its copy when it is forked
// (mm/memory.c, copy_present_page(): Linux 5.9), for about half of what the fault at its first write costs. The pages
// of buffers that are registered with an io_uring are pinned for as long as they are (io_uring_register(2)). No
// operation can be submitted to the ring: it stays disabled as it was made (IORING_SETUP_R_DISABLED: Linux 5.10), and
// the worker's filter allows neither io_uring_setup(2) nor io_uring_enter(2), and of io_uring_register(2) only what is
// needed here.
#pragma once

#include <linux/io_uring.h>

#include "common/unique_fd.h"

namespace coderunner {

class PinRing {
 public:
  PinRing() = default;  // none
  // Before the worker's filter is there. None where the kernel has none to give.
  static PinRing make();
  [[nodiscard]] int fd() const { return ring_.get(); }  // -1: none; whoever has it can register
  // Lets go of what has been registered. Pages of a process that has ended are freed by this.
  void release() const;

 private:
  UniqueFd ring_;
};

}  // namespace coderunner
