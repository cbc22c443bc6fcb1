// Role: the writer's side and the command's side.
// Callers: see artifact_writer.h.
#include "supervisor/artifact_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/sys.h"
#include "common/text.h"
#include "common/wire.h"
#include "supervisor/launch.h"

namespace coderunner {

namespace {

constexpr Millis kFileSystemLimit{60'000};  // for a slow disk to take one frame

Result<void> write_artifacts(Channel& channel, int directory) {
  UniqueFd file;
  for (;;) {
    const auto frame = channel.receive(Deadline::never());
    if (!frame || !*frame) return {};  // the command has said all it had to say, or is dead
    if ((*frame)->type == FrameType::kArtifactData) {
      TRY(sys::write_all(file.get(), (*frame)->payload));
      continue;
    }
    const auto header = TRY(decode<ArtifactHeader>((*frame)->payload));
    TRY(check_artifact_name(header.name));
    // O_NONBLOCK: a FIFO of that name must not stop us; files take no notice of it (open(2)).
    file = TRY(sys::open_at(directory, header.name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0644));
  }
}

}  // namespace

Result<void> check_artifact_name(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return fail(Fault::kInternal, fmt::format("artifact {}: not a plain name", json_quote(decode_utf8_replace(name))));
  }
  return {};
}

Result<ArtifactWriter> ArtifactWriter::start(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(Fault::kClient, fmt::format("--output: {}: {}", path, error.message()));
  const UniqueFd directory = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  Pipe ends = TRY(sys::make_socket_pair());
  const long pid = TRY(sys::retry("fork", [] { return ::fork(); }));
  if (pid == 0) {
    ends.read.reset();
    Channel channel(std::move(ends.write));
    const auto written = write_artifacts(channel, directory.get());
    if (!written) complain(fmt::format("--output: {}", written.error().message));
    ::_exit(written ? 0 : 1);
  }
  return ArtifactWriter(TRY(Child::adopt(static_cast<pid_t>(pid))), Channel(std::move(ends.read)));
}

Result<void> ArtifactWriter::announce(const ArtifactHeader& header) {
  return channel_.send(FrameType::kArtifact, encode(header), Deadline::in(kFileSystemLimit));
}

Result<void> ArtifactWriter::write(std::string_view bytes) {
  return channel_.send_pieces(FrameType::kArtifactData, bytes, Deadline::in(kFileSystemLimit));
}

Result<void> ArtifactWriter::finish() {
  channel_.close();
  const auto status = TRY(child_.wait(Deadline::in(kFileSystemLimit)));
  if (!status || status->signal != 0 || status->code != 0) {
    return fail(Fault::kInternal, "--output: not every artifact could be written");
  }
  return {};
}

}  // namespace coderunner
