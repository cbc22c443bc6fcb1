// Role: what a job's artifacts are called in its answer: text, and no two alike.
// Callers: reply_json.cc and reply_stream.cc, one for each answer.
// Law: the first of those that decode to the same text keeps it; the others get a number.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace coderunner {

class ArtifactNames {
 public:
  // `name` as bytes of the job's file system; U+FFFD stands for what is not UTF-8. Of names that then look the same,
  // the second one gets " (2)" behind it, and so on: members of a JSON object should differ (RFC 8259, section 4).
  std::string take(std::string_view name);

 private:
  std::set<std::string> taken_;
};

}  // namespace coderunner
