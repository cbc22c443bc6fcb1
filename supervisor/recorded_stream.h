// Role: a stream that passes everything on and keeps it, so that an answer given live can be given again whole.
// Callers: functions_host.cc.
// Law: keeps `limit` bytes at most; a longer answer is passed on all the same, and is then no answer to give again.
#pragma once

#include <string>

#include "supervisor/http.h"

namespace coderunner {

class RecordedStream : public HttpStream {
 public:
  // `stream` is borrowed.
  RecordedStream(HttpStream& stream, Bytes limit) : stream_(stream), limit_(limit) {}

  void begin(const HttpReply& head) override {
    begun_ = true;
    reply_ = head;
    reply_.body.clear();
    stream_.begin(head);
  }
  void add(std::string_view piece) override {
    fits_ = fits_ && reply_.body.size() + piece.size() <= limit_;
    if (fits_) reply_.body += piece;
    stream_.add(piece);
  }
  void end() override {
    ended_ = true;
    stream_.end();
  }
  [[nodiscard]] bool wants_write() const override { return stream_.wants_write(); }
  bool flush() override { return stream_.flush(); }
  [[nodiscard]] Bytes taken() const override { return stream_.taken(); }

  [[nodiscard]] bool begun() const { return begun_; }
  [[nodiscard]] bool whole() const { return ended_ && fits_; }
  [[nodiscard]] const HttpReply& reply() const { return reply_; }  // head and body as they were sent

 private:
  HttpStream& stream_;
  const Bytes limit_;
  HttpReply reply_;
  bool begun_ = false, ended_ = false, fits_ = true;
};

}  // namespace coderunner
