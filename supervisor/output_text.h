// Role: a job's output streams as text, in one piece or many, and the notes that its end adds to standard error.
// Callers: reply_json.cc (whole answers), reply_stream.cc (live ones), run_command.cc (notes).
// Law: however the bytes are cut into pieces, the text is the same. The notes' words are part of the contract.
#pragma once

#include <string>
#include <string_view>

#include "common/job.h"
#include "common/limits.h"

namespace coderunner {

// One stream. Bytes up to `limit` are the script's; what follows them is the stack of a script that timed out.
class OutputDecoder {
 public:
  explicit OutputDecoder(Bytes limit) : limit_(limit) {}

  // The text of these bytes; an incomplete character at their end waits for the rest of it.
  std::string feed(std::string_view bytes);
  // What still waits: nothing when it was our cut that split the character, else its U+FFFD.
  std::string finish(bool truncated);
  [[nodiscard]] Bytes bytes() const { return seen_; }

 private:
  std::string decode(std::string_view bytes);
  const Bytes limit_;
  Bytes seen_ = 0;
  bool behind_limit_ = false;
  std::string rest_;  // of a character; up to 3 bytes
};

struct Truncation {
  bool out = false, err = false;
};
Truncation find_truncation(const ExitReport& report, const Limits& limits);

// By verdict, not by exit code: a script may exit with 124 or 137 of its own will. Empty when there is nothing to note.
std::string format_notes(const ExitReport& report, const Limits& limits);

std::string format_artifacts_refusal(const Limits& limits);

}  // namespace coderunner
