// Role: see sandbox_bait.h.
#include "supervisor/sandbox_bait.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "common/sys.h"
#include "common/text.h"
#include "supervisor/sandbox_report.h"

namespace coderunner {

namespace {

std::string quote(std::string_view bytes) { return json_quote(decode_utf8_replace(bytes)); }

// A listener at `address`, whose `length` bytes leave the kernel a choice; the chosen one is written back. Not valid
// when it can not be had.
UniqueFd listen_anywhere(sockaddr* address, socklen_t length, socklen_t room) {
  UniqueFd listener(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool made = listener.valid() && ::bind(listener.get(), address, length) == 0 &&
                    ::listen(listener.get(), 4) == 0 && ::getsockname(listener.get(), address, &room) == 0;
  return made ? std::move(listener) : UniqueFd();
}

std::string describe_namespaces() {
  std::vector<std::string> members;
  for (const std::string_view name : {"user", "pid", "ipc", "mnt", "net", "uts"}) {
    std::error_code trouble;
    const auto link = std::filesystem::read_symlink(fmt::format("/proc/self/ns/{}", name), trouble);
    if (!trouble) members.push_back(fmt::format("\"{}\":{}", name, quote(link.string())));
  }
  return fmt::format("{}", fmt::join(members, ","));
}

// When this process started, in clock ticks since boot (proc(5), /proc/PID/stat, field 22).
std::string start_time() {
  const std::string stat = sys::read_file("/proc/self/stat").value_or("");
  std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  return field.empty() ? "0" : field;
}

}  // namespace

void plant_bait_variable() { ::setenv(kBaitVariable, "1", 1); }

Bait::Bait(const std::string& temp_dir) : file_(temp_dir + "/bait") {
  // 0600: whoever is not this user is kept out by that alone, and a job at the reduced level is this user.
  (void)sys::open(file_, O_WRONLY | O_CREAT, 0600);

  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  port_listener_ = listen_anywhere(reinterpret_cast<sockaddr*>(&loopback), sizeof loopback, sizeof loopback);
  if (port_listener_.valid()) port_ = ntohs(loopback.sin_port);

  // An address of nothing but its family: the kernel picks an abstract name of five digits (unix(7), autobind).
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  abstract_listener_ = listen_anywhere(reinterpret_cast<sockaddr*>(&name), sizeof name.sun_family, sizeof name);
  if (abstract_listener_.valid()) abstract_ = std::string(name.sun_path + 1, 5);

  shared_memory_ = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
  if (shared_memory_ == -1) return;
  attached_ = ::shmat(shared_memory_, nullptr, 0);
  // Removed already, so that it ends with its last user; by its number it can be attached for as long (shmctl(2)).
  ::shmctl(shared_memory_, IPC_RMID, nullptr);
  if (reinterpret_cast<std::intptr_t>(attached_) == -1) attached_ = nullptr, shared_memory_ = -1;
}

Bait::~Bait() {
  ::unlink(file_.c_str());
  if (attached_ != nullptr) ::shmdt(attached_);
}

std::string Bait::describe(const ReadyReport& ready, NetworkMode network, const Limits& limits) const {
  const bool pids_cgroup = std::ranges::find(ready.layers, kPidsCgroup, &LayerState::detail) != ready.layers.end();
  return fmt::format(
      R"({{"level":"{}","pid":{},"started":{},"namespaces":{{{}}},"file":{},"network":"{}","port":{},"abstract":"{}",)"
      R"("shared_memory":{},"variable":"{}","descriptors":{},"scratch":{},"processes":{},"pids_cgroup":{}}})",
      level_name(ready.level), ::getpid(), start_time(), describe_namespaces(), quote(file_),
      network == NetworkMode::kNone ? "none" : "host", port_, abstract_, shared_memory_, kBaitVariable,
      limits.descriptors, limits.scratch_bytes, limits.processes, pids_cgroup);
}

}  // namespace coderunner
