// Role: POSIX shared memory and named semaphores in the job's own temporary directory: a library that the loader puts
// in front of the C library's (ld.so(8), LD_PRELOAD) where a job has no /dev/shm of its own.
// Callers: multiprocessing, by way of shm_open(3) and sem_open(3), in every program that a job starts at the reduced
// level. jail.cc writes the library beside bootstrap.py; it travels inside the worker.
// Law: nothing but the C library: it is loaded into interpreters of any build. Names are those of sem_overview(7) and
// shm_open(3). Unlike there, a semaphore that one process opens twice has two addresses.
#undef _FILE_OFFSET_BITS  // it would make one name of statvfs and statvfs64; both are wanted, and are the same here
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace {

constexpr size_t kLongestName = 240, kPathRoom = 4096;  // with what is put around it, below NAME_MAX

class Path {
 public:
  // Invalid, with errno set, when the name is none.
  Path(const char* kind, const char* name) {
    while (*name == '/') ++name;
    const size_t length = strlen(name);
    if (length == 0 || length > kLongestName || strchr(name, '/') != nullptr) errno = EINVAL;  // as glibc has it
    else valid_ = write(kind, name);
  }
  [[nodiscard]] bool valid() const { return valid_; }
  [[nodiscard]] const char* text() const { return text_; }

 private:
  bool write(const char* kind, const char* name) {
    const char* folder = getenv("TMPDIR");
    const int length = snprintf(text_, sizeof text_, "%s/.%s.%s", folder != nullptr ? folder : "/tmp", kind, name);
    if (length > 0 && static_cast<size_t>(length) < sizeof text_) return true;
    errno = ENAMETOOLONG;
    return false;
  }
  bool valid_ = false;
  char text_[kPathRoom];
};

sem_t* map(int file) {
  void* const place = mmap(nullptr, sizeof(sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int saved = errno;
  close(file);
  errno = saved;
  return place == MAP_FAILED ? SEM_FAILED : static_cast<sem_t*>(place);
}

// A file with the semaphore in it takes its name only when it is complete.
sem_t* create(const Path& path, mode_t mode, unsigned value) {
  sem_t fresh;
  if (sem_init(&fresh, 1, value) != 0) return SEM_FAILED;
  char place[kPathRoom];
  const int length = snprintf(place, sizeof place, "%s.XXXXXX", path.text());
  if (length < 0 || static_cast<size_t>(length) >= sizeof place) return errno = ENAMETOOLONG, SEM_FAILED;
  const int file = mkostemp(place, O_CLOEXEC);
  if (file == -1) return SEM_FAILED;
  const bool made = write(file, &fresh, sizeof fresh) == static_cast<ssize_t>(sizeof fresh) &&
                    fchmod(file, mode) == 0 && link(place, path.text()) == 0;
  const int saved = errno;
  unlink(place);
  if (made) return map(file);
  close(file);
  errno = saved;
  return SEM_FAILED;
}

using StatVfs = int (*)(const char*, struct statvfs*);

// multiprocessing prefers /dev/shm for its arrays where there is room; there is none for a job.
int stat_without_shm(const char* path, struct statvfs* into, const char* real_name) {
  if (strcmp(path, "/dev/shm") == 0) {
    memset(into, 0, sizeof *into);
    return 0;
  }
  const auto real = reinterpret_cast<StatVfs>(dlsym(RTLD_NEXT, real_name));
  return real(path, into);
}

}  // namespace

extern "C" {

[[gnu::visibility("default")]] int shm_open(const char* name, int flags, mode_t mode) {
  const Path path("shm", name);
  return path.valid() ? open(path.text(), flags | O_CLOEXEC | O_NOFOLLOW, mode) : -1;
}

[[gnu::visibility("default")]] int shm_unlink(const char* name) {
  const Path path("shm", name);
  return path.valid() ? unlink(path.text()) : -1;
}

[[gnu::visibility("default")]] sem_t* sem_open(const char* name, int flags, ...) {
  mode_t mode = 0;
  unsigned value = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    value = va_arg(more, unsigned);
    va_end(more);
  }
  const Path path("sem", name);
  if (!path.valid()) return SEM_FAILED;
  for (;;) {
    if ((flags & O_CREAT) == 0 || (flags & O_EXCL) == 0) {
      const int file = open(path.text(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
      if (file != -1) return map(file);
      if (errno != ENOENT || (flags & O_CREAT) == 0) return SEM_FAILED;
    }
    sem_t* const made = create(path, mode, value);
    if (made != SEM_FAILED || errno != EEXIST || (flags & O_EXCL) != 0) return made;
  }
}

[[gnu::visibility("default")]] int sem_close(sem_t* semaphore) { return munmap(semaphore, sizeof *semaphore); }

[[gnu::visibility("default")]] int sem_unlink(const char* name) {
  const Path path("sem", name);
  return path.valid() ? unlink(path.text()) : -1;
}

[[gnu::visibility("default")]] int statvfs(const char* path, struct statvfs* into) {
  return stat_without_shm(path, into, "statvfs");
}

// The same structure on 64-bit machines (bits/statvfs.h).
[[gnu::visibility("default")]] int statvfs64(const char* path, struct statvfs64* into) {
  static_assert(sizeof(struct statvfs64) == sizeof(struct statvfs));
  return stat_without_shm(path, reinterpret_cast<struct statvfs*>(into), "statvfs64");
}

}  // extern "C"
