// Role: see scratch_dir.h.
#include "tests/support/scratch_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "common/sys.h"
#include "common/file_tree.h"

namespace coderunner::test {
namespace {

template <class T>
void require(T value, std::string_view what) {
  if (value < 0) throw std::runtime_error(sys::last_error(what).message);
}

std::string make_unique_dir(Place place) {
  const char* base = place == Place::kMemory ? "/dev/shm" : std::getenv("TMPDIR");
  std::string path = fmt::format("{}/coderunner-test-XXXXXX", base != nullptr ? base : "/tmp");
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error(sys::last_error(path).message);
  return path;
}

}  // namespace

const std::string kHostileNames[9] = {
    "two\nlines", "\"quote'd\"", "\xff\xfe not utf-8", std::string(255, 'n'), "-rf", " ", "back\\slash",
    "\x01\x1b[31m", "\xc3\xa9\xcc\x81",
};

ScratchDir::ScratchDir(Place place) : path_(make_unique_dir(place)) {
  auto fd = sys::open(path_, O_RDONLY | O_DIRECTORY);
  if (!fd) throw std::runtime_error(fd.error().message);
  fd_ = *std::move(fd);
}

ScratchDir::~ScratchDir() {
  const std::size_t slash = path_.rfind('/');
  const auto parent = sys::open(path_.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  const Result<void> removed =
      parent ? remove_tree(parent->get(), path_.substr(slash + 1)) : fail(Fault::kInternal, "open");
  if (!removed) fmt::print(stderr, "left behind: {}: {}\n", path_, removed.error().message);
}

void ScratchDir::make_dir(const std::string& name, mode_t mode) const {
  require(::mkdirat(fd(), name.c_str(), 0700), name);
  set_mode(name, mode);
}

void ScratchDir::make_file(const std::string& name, std::string_view content, mode_t mode) const {
  const UniqueFd file(::openat(fd(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  require(file.get(), name);
  if (!sys::write_all(file.get(), content)) throw std::runtime_error("write " + name);
  require(::fchmod(file.get(), mode), name);
}

void ScratchDir::make_sparse(const std::string& name, off_t bytes) const {
  make_file(name, "");
  const UniqueFd file(::openat(fd(), name.c_str(), O_WRONLY | O_CLOEXEC));
  require(::ftruncate(file.get(), bytes), name);
}

void ScratchDir::make_link(const std::string& target, const std::string& name) const {
  require(::symlinkat(target.c_str(), fd(), name.c_str()), name);
}

void ScratchDir::make_hard_link(const std::string& from, const std::string& name) const {
  require(::linkat(fd(), from.c_str(), fd(), name.c_str(), 0), name);
}

void ScratchDir::make_fifo(const std::string& name) const { require(::mkfifoat(fd(), name.c_str(), 0600), name); }

void ScratchDir::make_socket(const std::string& name) const {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = path_ + "/" + name;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("socket path too long: " + path);
  std::strcpy(address.sun_path, path.c_str());
  require(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), name);
}

void ScratchDir::make_chain(const std::string& name, int levels, const std::string& leaf) const {
  make_dir(name);
  UniqueFd at(::openat(fd(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int level = 0; level < levels; ++level) {
    require(::mkdirat(at.get(), "d", 0700), "mkdirat");
    at.reset(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    require(at.get(), "openat");
  }
  if (leaf.empty()) return;
  const UniqueFd file(::openat(at.get(), leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  require(file.get(), leaf);
}

void ScratchDir::set_mode(const std::string& name, mode_t mode) const {
  require(::fchmodat(fd(), name.c_str(), mode, 0), name);
}

bool ScratchDir::exists(const std::string& name) const {
  struct stat found{};
  return ::fstatat(fd(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0;
}

mode_t ScratchDir::mode(const std::string& name) const {
  struct stat found{};
  require(::fstatat(fd(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW), name);
  return found.st_mode;
}

std::string ScratchDir::content(const std::string& name) const {
  auto text = sys::read_file(path_ + "/" + name, std::size_t{64} << 20);
  if (!text) throw std::runtime_error(text.error().message);
  return *std::move(text);
}

}  // namespace coderunner::test
