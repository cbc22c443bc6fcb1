// Role: the job's own /proc switched off: stands before the C library's mount(2) in a worker for the benchmark.
// Callers: tests/bench/meson.build links it into a worker.
// Law: measures only, never installed: jobs see the host's /proc.
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data) noexcept {
  if (type != nullptr && std::string_view(type) == "proc") return 0;
  return static_cast<int>(::syscall(SYS_mount, source, target, type, flags, data));
}
