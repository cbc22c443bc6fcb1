// Role: a program that speaks frames as a file of instructions tells it: it plays the workers that a real one should
// never be, such as one that dies, hangs, or says the wrong thing.
// Callers: tests of pool.h, session.h and birth.h start it in place of coderunner-worker.
// Law: the file is WorkerSetup::python, since a worker has no arguments and no environment. One instruction a line:
//
//   ready [LEAKS [BIRTHS LOSSES FORKS]]
//                      failed TEXT        started            exit CODE [REASON]   frames of these types
//   stdout TEXT        stderr TEXT        artifact NAME TEXT
//   artifact-head NAME BYTES   artifact-data TEXT            what a frame says and what follows, apart
//   frame TYPE         an empty frame of that number         garbage    bytes that are no frame
//   flood TYPE COUNT   that many full frames
//   job                receives frames up to Run             cancel     receives a Cancel
//   say-job            what `job` received, as stdout        say-slot   the slot's number, as stdout
//   say-cancel         what `cancel` received, as stdout
//   together           what follows is sent in one piece, up to `apart`
//   describe FILE      what kind of process this is, into a file
//   orphan FILE        leaves a process behind, its pid in a file
//   litter             leaves temp_dir/worker-N/deep/file
//   once FILE          goes on only for the first process that comes here; others begin at `otherwise`
//   end CODE           exits                                 hang       does nothing until it is killed
//   repeat             from the line after the first `ready` or the one that holds `mark`
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

#include "common/channel.h"
#include "common/job.h"
#include "common/sys.h"
#include "common/wire.h"

extern char** environ;

namespace coderunner {
namespace {

constexpr int kChannelFd = 3;

[[noreturn]] void end(int code) { ::_exit(code); }

template <class T> T need(Result<T> result) {
  if (!result) end(9);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

std::string describe_process() {
  std::string text = fmt::format("argv {} environment {} directory {} session {} ", program_invocation_name,
                                 environ[0] == nullptr ? "empty" : environ[0], std::string(::get_current_dir_name()),
                                 ::getsid(0) == ::getpid() ? "own" : "inherited");
  std::vector<int> open;
  DIR* stream = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(stream)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != ::dirfd(stream)) open.push_back(fd);
  }
  ::closedir(stream);
  std::ranges::sort(open);
  for (const int fd : open) text += fmt::format("fd{} ", fd);
  char target[64] = {};
  if (::readlink("/proc/self/fd/0", target, sizeof target - 1) > 0) text += fmt::format("0={} ", target);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk") || line.starts_with("SigIgn")) {
      text += line.substr(0, 6) + (line.find_first_of("123456789abcdef", 7) == line.npos ? " none " : " some ");
    }
  }
  return text;
}

class Worker {
 public:
  Worker() : channel_(UniqueFd(kChannelFd)) {}

  [[noreturn]] void run() {
    setup_ = need(decode<WorkerSetup>(receive().payload));
    std::istringstream script(need(sys::read_file(setup_.python)));
    for (std::string line; std::getline(script, line);) lines_.push_back(line);
    for (next_ = 0; next_ < lines_.size();) obey(lines_[next_++]);
    end(0);
  }

 private:
  Frame receive() {
    auto frame = channel_.receive(Deadline::never());
    if (!frame) end(0);  // the pool has hung up
    return std::move(**frame);
  }
  void send(FrameType type, std::string_view payload) {
    channel_.queue(type, payload);
    while (!together_ && channel_.wants_write()) {
      if (!channel_.flush()) end(0);
    }
  }

  void obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (speak(verb, words) || listen(verb, words)) return;
    if (verb == "end") end(std::atoi(rest(words).c_str()));
    if (verb == "hang") for (;;) ::pause();
    if (verb == "mark") mark_ = next_;
    else if (verb == "repeat") next_ = mark_;
    else if (verb == "describe") write(rest(words), describe_process());
    else if (verb == "orphan") leave_orphan(rest(words));
    else if (verb == "litter") litter();
    else if (verb == "once") once(rest(words));
    else if (verb != "otherwise") end(8);
  }

  bool speak(const std::string& verb, std::istringstream& words) {
    if (verb == "ready") {
      if (mark_ == 0) mark_ = next_;
      ReadyReport report;
      report.python = "3.11.2";
      words >> report.leaks >> report.counts.births >> report.counts.losses >> report.counts.forks;
      send(FrameType::kReady, encode(report));
    } else if (verb == "failed") send(FrameType::kFailed, rest(words));
    else if (verb == "started") send(FrameType::kStarted, {});
    else if (verb == "stdout") send(FrameType::kStdout, rest(words));
    else if (verb == "stderr") send(FrameType::kStderr, rest(words));
    else if (verb == "artifact" || verb == "artifact-head") announce(verb, words);
    else if (verb == "artifact-data") send(FrameType::kArtifactData, rest(words));
    else if (verb == "exit") {
      ExitReport report;
      words >> report.exit_code;
      report.verdict = report.exit_code == 0 ? Verdict::kOk : Verdict::kError;
      report.reason = rest(words);
      send(FrameType::kExit, encode(report));
    } else if (verb == "frame") send(static_cast<FrameType>(std::atoi(rest(words).c_str())), {});
    else if (verb == "garbage") need(sys::write_all(channel_.fd(), std::string(32, '\xff')));
    else if (verb == "flood") {
      int type = 0, count = 0;
      words >> type >> count;
      for (int i = 0; i < count; ++i) send(static_cast<FrameType>(type), std::string(kMaxPayload, 'x'));
    } else if (verb == "together") together_ = true;
    else if (verb == "apart") {
      together_ = false;
      while (channel_.wants_write() && channel_.flush()) {}
    } else if (verb == "say-job") send(FrameType::kStdout, job_);
    else if (verb == "say-slot") send(FrameType::kStdout, std::to_string(setup_.index));
    else if (verb == "say-cancel") send(FrameType::kStdout, cancel_);
    else return false;
    return true;
  }

  bool listen(const std::string& verb, std::istringstream&) {
    if (verb == "job") receive_job();
    else if (verb == "cancel") {
      const Frame frame = receive();
      if (frame.type != FrameType::kCancel) end(7);
      cancel_ = need(decode<CancelOrder>(frame.payload)).reason == CancelReason::kDrain ? "drain" : "client gone";
    } else return false;
    return true;
  }

  void receive_job() {
    job_.clear();
    for (Frame frame = receive(); frame.type != FrameType::kRun; frame = receive()) {
      switch (frame.type) {
        case FrameType::kJob: job_ += fmt::format("job {}\n", need(decode<JobSpec>(frame.payload)).entry_point); break;
        case FrameType::kFile: {
          const auto header = need(decode<FileHeader>(frame.payload));
          job_ += fmt::format("file {} {} {}\n", header.path, header.bytes, header.read_only ? "ro" : "rw");
          break;
        }
        case FrameType::kFileData: job_ += fmt::format("data {} {}\n", frame.payload.size(), frame.payload[0]); break;
        case FrameType::kStdinData: job_ += fmt::format("stdin {} {}\n", frame.payload.size(), frame.payload[0]); break;
        default: end(6);
      }
    }
  }

  void announce(const std::string& verb, std::istringstream& words) {
    ArtifactHeader header;
    words >> header.name;
    const std::string text = rest(words);
    header.bytes = verb == "artifact" ? text.size() : std::strtoull(text.c_str(), nullptr, 10);
    send(FrameType::kArtifact, encode(header));
    if (verb == "artifact") send(FrameType::kArtifactData, text);
  }

  void leave_orphan(const std::string& path) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      ::close_range(3, ~0U, 0);  // as a real one: nobody but the worker has the channel
      for (;;) ::pause();
    }
    write(path, std::to_string(pid));
  }

  void litter() {
    const std::string own = fmt::format("{}/worker-{}", setup_.temp_dir, setup_.index);
    ::mkdir(own.c_str(), 0700);
    ::mkdir((own + "/deep").c_str(), 0700);
    write(own + "/deep/file", "left");
    ::chmod((own + "/deep").c_str(), 0);
  }

  void once(const std::string& path) {
    if (::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600) >= 0) return;
    while (next_ < lines_.size() && lines_[next_] != "otherwise") ++next_;
  }

  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text;
    ::rename((path + ".new").c_str(), path.c_str());  // a reader sees all of it or nothing
  }
  static std::string rest(std::istringstream& words) {
    std::string text;
    std::getline(words >> std::ws, text);
    return text;
  }

  Channel channel_;
  WorkerSetup setup_;
  std::vector<std::string> lines_;
  std::size_t next_ = 0, mark_ = 0;
  bool together_ = false;
  std::string job_, cancel_;
};

}  // namespace
}  // namespace coderunner

int main() {
  ::signal(SIGPIPE, SIG_IGN);
  coderunner::Worker().run();
}
