// Role: what the service counts, and GET /metrics: the Prometheus text format.
// Callers: serve_command.cc makes it; run_route.cc tells it of runs; MeteredHandler tells it of every request.
// Law: metrics.cc is the only door to prometheus-cpp. Counting never fails and never waits for anyone who reads. Names
// follow Prometheus' conventions: base units, _total for what only grows. A label's values are few and known.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "supervisor/http.h"
#include "supervisor/pool.h"
#include "supervisor/reply_json.h"
#include "supervisor/request.h"
#include "supervisor/session.h"

namespace coderunner {

class Metrics {
 public:
  // `paths`: those that requests are told apart by; all others count as one.
  explicit Metrics(std::vector<std::string_view> paths);
  ~Metrics();

  // One answer. `mode` as in HttpReply.
  void count_request(std::string_view path, std::string_view mode, int status);
  void count_input(Bytes bytes);            // of a run: its files and standard input, decoded
  void count_queue_time(Micros waited);     // of a run that got a worker, or gave up
  void count_run(const ExitReport& report); // of a run that has come to its end, or lost its worker
  void count_cancelled();                   // of a run whose client went away
  void count_stdout(Bytes bytes);           // output as it comes
  void count_stderr(Bytes bytes);
  void count_artifact(Bytes bytes);

  // `health`, `held`: what the pool and the server know at that moment.
  [[nodiscard]] HttpReply make_page(const PoolHealth& health, Bytes held, std::string_view version) const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

// The mode of an understood request, as metrics name it: "raw", "script", "files".
std::string_view mode_name(RequestMode mode);

// Counts a job's output on its way to the sink behind it.
class MeteredSink : public JobSink {
 public:
  MeteredSink(JobSink& inner, Metrics& metrics) : inner_(inner), metrics_(metrics) {}
  void on_stdout(std::string_view bytes) override;
  void on_stderr(std::string_view bytes) override;
  void on_artifact(const ArtifactHeader& header) override;
  void on_artifact_data(std::string_view bytes) override;
  [[nodiscard]] bool wants_write() const override { return inner_.wants_write(); }
  bool flush() override { return inner_.flush(); }
  [[nodiscard]] Bytes taken() const override { return inner_.taken(); }
  [[nodiscard]] Deadline silent_until() const override { return inner_.silent_until(); }
  void on_silence() override { inner_.on_silence(); }

 private:
  JobSink& inner_;
  Metrics& metrics_;
};

// Counts every answer of the handler behind it, and every refusal by the server itself: each request once.
class MeteredHandler : public HttpHandler {
 public:
  MeteredHandler(HttpHandler& inner, Metrics& metrics) : inner_(inner), metrics_(metrics) {}
  std::optional<HttpReply> refuse(const HttpRequest& head) override { return inner_.refuse(head); }
  HttpReply answer(HttpRequest request) override;
  HttpReply refuse_busy(const HttpRequest& head) override { return inner_.refuse_busy(head); }
  void on_refused(const HttpRequest& request, const HttpReply& reply) override;

 private:
  HttpHandler& inner_;
  Metrics& metrics_;
};

}  // namespace coderunner
