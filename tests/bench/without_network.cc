// Role: the network namespace switched off: stands before the C library's calls in a worker for the benchmark.
// Callers: tests/bench/meson.build links it into a worker.
// Law: measures only, never installed. The host's loopback is up already, and not this worker's to touch.
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" int unshare(int flags) noexcept { return static_cast<int>(::syscall(SYS_unshare, flags & ~CLONE_NEWNET)); }

extern "C" int ioctl(int, unsigned long, ...) noexcept { return 0; }
