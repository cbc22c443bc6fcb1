// Role: what the service is compared with: an interpreter started for each script; see client.h.
// Callers: load.cc.
// Law: no more than a program would do that only wants the output: no sandbox, no directory of its own, no limits.
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>

#include <fmt/format.h>

#include "client.h"
#include "common/child.h"
#include "common/sys.h"

namespace coderunner::bench {
namespace {

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

class BareClient : public Client {
 public:
  explicit BareClient(BareJob job) : job_(std::move(job)) {}

  Result<void> begin() override {
    Pipe in = TRY(sys::make_pipe()), out = TRY(sys::make_pipe()), err = TRY(sys::make_pipe());
    SpawnActions actions;
    ::posix_spawn_file_actions_adddup2(actions.get(), in.read.get(), 0);
    ::posix_spawn_file_actions_adddup2(actions.get(), out.write.get(), 1);
    ::posix_spawn_file_actions_adddup2(actions.get(), err.write.get(), 2);
    ::posix_spawn_file_actions_addchdir_np(actions.get(), job_.directory.c_str());
    std::array<const char*, 5> arguments = {job_.python.c_str(), "-X", "utf8", "script.py", nullptr};
    const std::string home = "HOME=" + job_.directory;
    std::array<const char*, 6> variables = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
                                            "PYTHONIOENCODING=utf-8", "PYTHONUNBUFFERED=1", home.c_str(), nullptr};
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, job_.python.c_str(), actions.get(), nullptr,
                                    const_cast<char**>(arguments.data()), const_cast<char**>(variables.data()));
    if (error != 0)
      return fail(Fault::kInternal, fmt::format("posix_spawn({}): {}", job_.python, ::strerrorname_np(error)));
    process_ = TRY(Child::adopt(pid));
    stdin_ = std::move(in.write);
    stdout_ = std::move(out.read);
    stderr_ = std::move(err.read);
    for (const int fd : {stdin_.get(), stdout_.get(), stderr_.get()}) TRY(sys::set_nonblocking(fd, true));
    written_ = read_ = 0;
    said_.clear();
    return {};
  }

  void wait_for(std::vector<pollfd>& entries) const override {
    if (stdin_.valid()) entries.push_back({stdin_.get(), POLLOUT, 0});
    if (stdout_.valid()) entries.push_back({stdout_.get(), POLLIN, 0});
    if (stderr_.valid()) entries.push_back({stderr_.get(), POLLIN, 0});
    if (!stdout_.valid() && !stderr_.valid()) entries.push_back({process_.pidfd(), POLLIN, 0});
  }

  Result<bool> advance() override {
    TRY(feed());
    read_ += TRY(drain(stdout_)).size();
    said_ += TRY(drain(stderr_));
    if (stdout_.valid() || stderr_.valid()) return false;
    const auto status = TRY(process_.wait(Deadline::in(Millis(0))));
    if (!status) return false;
    stdin_.reset();
    if (status->code != 0 || read_ != job_.output_bytes)
      return fail(Fault::kInternal, fmt::format("exit status {}, {} bytes of output, {}", status->code, read_, said_));
    return true;
  }

 private:
  Result<void> feed() {
    while (stdin_.valid() && written_ < job_.input.size()) {
      const auto count = sys::write_some(stdin_.get(), std::string_view(job_.input).substr(written_));
      if (!count) break;  // the script has ended without reading all of it
      if (!*count) return {};
      written_ += **count;
    }
    stdin_.reset();
    return {};
  }

  // What is there; at the end of the file the owner lets go.
  Result<std::string> drain(UniqueFd& fd) {
    std::string all;
    std::array<char, 64 * 1024> buffer;
    while (fd.valid()) {
      const auto count = TRY(sys::read_some(fd.get(), buffer));
      if (!count) break;
      if (*count == 0) fd.reset();
      all.append(buffer.data(), *count);
    }
    return all;
  }

  BareJob job_;
  Child process_;
  UniqueFd stdin_, stdout_, stderr_;
  std::size_t written_ = 0, read_ = 0;
  std::string said_;
};

}  // namespace

Result<std::unique_ptr<Client>> make_bare_client(const BareJob& job) { return std::make_unique<BareClient>(job); }

}  // namespace coderunner::bench
