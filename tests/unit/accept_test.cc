// Role: which Accept field asks for which form.
#include "supervisor/accept.h"

#include <doctest/doctest.h>

#include <string>

namespace coderunner {
namespace {

TEST_CASE("a live form is chosen when it is named and wanted most") {
  using enum ReplyForm;
  struct Row {
    std::string accept;
    ReplyForm form;
  };
  const Row rows[] = {
      {"", kPlain},
      {"*/*", kPlain},
      {"text/*", kPlain},
      {"text/html,application/xhtml+xml,*/*;q=0.8", kPlain},
      {"application/json", kPlain},
      {"text/event-stream", kEvents},
      {"Text/Event-Stream", kEvents},
      {" text/event-stream ; charset=utf-8 ", kEvents},
      {"application/x-ndjson", kLines},
      {"application/x-ndjson;q=0.001", kLines},
      {"text/event-stream;q=0", kPlain},
      {"text/event-stream;q=0.000, application/x-ndjson", kLines},
      // The higher weight.
      {"text/event-stream;q=0.5, application/json;q=0.9", kPlain},
      {"text/event-stream;Q=0.9, application/json;q=0.5", kEvents},
      {"application/x-ndjson;q=0.5, text/event-stream;q=0.25", kLines},
      {"text/event-stream;q=0.25, application/*", kPlain},
      // Equal: named before matched, then the first.
      {"*/*, text/event-stream", kEvents},
      {"application/*, text/event-stream", kEvents},
      {"application/json, text/event-stream", kPlain},
      {"text/event-stream, application/json", kEvents},
      {"application/x-ndjson, text/event-stream", kLines},
      {"text/event-stream, application/x-ndjson", kEvents},
      // What is not understood counts as not there.
      {"text/event-stream;q=2", kPlain},
      {"text/event-stream;q=x, application/x-ndjson", kLines},
      {"text/event-stream;q=1.1", kPlain},
      {"text/event-stream;q=0.12345", kPlain},
      {",,;, text/event-stream", kEvents},
      {"text/event-streams", kPlain},
      {"a/b;c=\"text/event-stream, \\\" text/event-stream\"", kPlain},
      {"a/b;c=\"x,y\", text/event-stream", kEvents},
      {"a/b;c=\"x", kPlain},
  };
  for (const Row& row : rows) {
    CAPTURE(row.accept);
    CHECK(choose_reply_form(row.accept) == row.form);
  }
}

}  // namespace
}  // namespace coderunner
