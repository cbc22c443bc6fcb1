// Role: pages that are registered are a child's own when it is forked, until they are released.
#include "worker/pin_ring.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace coderunner {
namespace {

constexpr std::size_t kPages = 100;
const std::size_t kPage = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

long faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// How many of the pages a child has to fetch when it writes to them all.
int fetched_by_child(volatile char* pages) {
  const pid_t child = ::fork();
  if (child == 0) {
    const long before = faults();
    for (std::size_t page = 0; page < kPages; ++page) pages[page * kPage] = 2;
    ::_exit(static_cast<int>(faults() - before));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("what is registered with a pin ring is copied when a child is forked, and not when it has been released") {
  void* const memory = ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const pages = static_cast<volatile char*>(memory);
  for (std::size_t page = 0; page < kPages; ++page) pages[page * kPage] = 1;
  const PinRing ring = PinRing::make();
  if (ring.fd() < 0) {  // a container, say: then the kernel must have refused, and nothing else be the reason
    errno = 0;
    CHECK(::syscall(SYS_io_uring_setup, 0, nullptr) == -1);
    CHECK((errno == ENOSYS || errno == EPERM));
    ring.release();
    return;
  }
  constexpr int kFew = 10;  // of the code and the stack
  CHECK(fetched_by_child(pages) >= static_cast<int>(kPages));
  const iovec all{memory, kPages * kPage};
  errno = 0;
  if (::syscall(SYS_io_uring_register, ring.fd(), IORING_REGISTER_BUFFERS, &all, 1) != 0) {
    // The limit is on all that the user has pinned, so others may have used it up; it does not hold for root.
    CHECK(errno == ENOMEM);
    CHECK(::geteuid() != 0);
    return;
  }
  CHECK(fetched_by_child(pages) < kFew);
  CHECK(pages[0] == 1);
  ring.release();
  CHECK(fetched_by_child(pages) >= static_cast<int>(kPages));
  ::munmap(memory, kPages * kPage);
}

}  // namespace
}  // namespace coderunner
