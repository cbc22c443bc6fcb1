// Role: a run's answer while the run goes on: events, as Server-Sent Events or as lines of JSON.
// Callers: run_route.cc makes one a live request, and hands it to the session as the job's sink.
// Law: joined together, the events say what the plain answer says: the same texts, notes, files and `run` member. No
// event holds part of a character. One event's bytes are held at most, and one artifact's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/accept.h"
#include "supervisor/artifact_names.h"
#include "supervisor/http.h"
#include "supervisor/output_text.h"
#include "supervisor/reply_json.h"
#include "supervisor/session.h"

namespace coderunner {

// Proxies end connections on which nothing has moved for a while; the shortest common limits are 30 s and more.
inline constexpr Millis kKeepAliveAfter{15'000};

class LiveSink : public JobSink {
 public:
  // `form` is a live one. `silence`: what is bridged by keep-alives.
  LiveSink(HttpStream& stream, ReplyForm form, const Limits& limits, Millis silence = kKeepAliveAfter);

  // The head of the answer, once there is a worker.
  void begin(Micros queue);
  [[nodiscard]] bool begun() const { return begun_; }
  // The rest of the streams, the notes and the exit event.
  void finish(const RunFacts& facts);
  [[nodiscard]] OutputBytes bytes() const { return {out_.bytes(), err_.bytes()}; }

  void on_stdout(std::string_view bytes) override;
  void on_stderr(std::string_view bytes) override;
  void on_artifact(const ArtifactHeader& header) override;
  void on_artifact_data(std::string_view bytes) override;

  [[nodiscard]] bool wants_write() const override { return stream_.wants_write(); }
  bool flush() override;
  [[nodiscard]] Bytes taken() const override { return stream_.taken(); }
  [[nodiscard]] Deadline silent_until() const override { return silent_until_; }
  void on_silence() override;

 private:
  void add_output(std::string_view event, const std::string& text);
  void add_event(std::string_view event, std::string_view members);
  void add_artifact();
  void send(std::string_view piece);

  HttpStream& stream_;
  const ReplyForm form_;
  const Limits& limits_;
  const Millis silence_;
  OutputDecoder out_, err_;
  Artifact artifact_;  // being received
  ArtifactNames names_;
  std::vector<ArtifactHeader> skipped_;
  Deadline silent_until_ = Deadline::never();
  bool begun_ = false;
};

}  // namespace coderunner
