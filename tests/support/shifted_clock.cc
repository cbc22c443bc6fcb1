// Role: a wall clock that jumps, for one service and its workers, while the machine's own goes on.
// Callers: tests/contract/clock_test.py, by LD_PRELOAD; the file named by SHIFTED_CLOCK holds a Shift.
// Law: whatever reads the wall clock through the C library is shifted, std::chrono::system_clock too, whose now() calls
// clock_gettime through the PLT. Nothing else is: who waits *until* a time of the wall clock compares a shifted time
// with the kernel's, and so wakes at once or never. The real calls are made as system calls: what a sanitizer puts in
// front of the C library is not needed here, and may not be ready yet.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace {

struct Shift {
  volatile long seconds;  // what the wall clock is ahead
  long programs;          // how many have begun under it
};

Shift* shift;
// A worker is born with an empty environment (supervisor/birth.cc): it gets these. The last one is for sanitizers,
// which want to be the first library of a process.
constexpr const char* kHandedOn[] = {"LD_PRELOAD", "SHIFTED_CLOCK", "ASAN_OPTIONS"};
char handed_on[3][512];
char* worker_environment[4];

[[gnu::constructor]] void begin() {
  char** next = worker_environment;
  for (int i = 0; i < 3; ++i) {
    const char* value = ::getenv(kHandedOn[i]);
    if (value == nullptr) continue;
    ::snprintf(handed_on[i], sizeof handed_on[i], "%s=%s", kHandedOn[i], value);
    *next++ = handed_on[i];
  }
  const char* path = ::getenv("SHIFTED_CLOCK");
  const int file = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
  void* memory = ::mmap(nullptr, sizeof(Shift), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) {
    ::perror("SHIFTED_CLOCK");
    ::_exit(112);
  }
  ::close(file);
  shift = static_cast<Shift*>(memory);
  __atomic_add_fetch(&shift->programs, 1, __ATOMIC_SEQ_CST);
}

timespec wall() {
  timespec now{};
  ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  if (shift != nullptr) now.tv_sec += shift->seconds;
  return now;
}

bool is_wall(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const long result = ::syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && shift != nullptr && is_wall(clock)) now->tv_sec += shift->seconds;
  return static_cast<int>(result);
}

int gettimeofday(timeval* now, void*) noexcept {
  const timespec time = wall();
  *now = {time.tv_sec, time.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* now) noexcept {
  const timespec time = wall();
  if (now != nullptr) *now = time.tv_sec;
  return time.tv_sec;
}

int timespec_get(timespec* now, int base) noexcept {
  if (base != TIME_UTC) return 0;
  *now = wall();
  return base;
}

// Also called in the child of a vfork: nothing here but what signal-safety(7) allows.
int execveat(int folder, const char* path, char* const* arguments, char* const* environment, int flags) noexcept {
  char* const* given = environment[0] == nullptr ? worker_environment : environment;
  return static_cast<int>(::syscall(SYS_execveat, folder, path, arguments, given, flags));
}

}  // extern "C"
