// Role: see dispatch.h.
#include "supervisor/dispatch.h"

#include <fmt/format.h>

namespace coderunner {

Dispatched dispatch_job(Pool& pool, Bytes held, const RunRequest& request, JobSink& sink, const SessionWatch& watch,
                        const std::function<void(Micros)>& on_lease) {
  Micros queue{0};
  for (unsigned attempt = 1;; ++attempt) {
    const auto queued_at = Clock::now();
    auto lease = pool.borrow(held, watch.client_fd, request.job.packages);
    queue += since(queued_at);
    if (!lease) return {std::unexpected(std::move(lease.error())), queue};
    on_lease(queue);

    auto report = run_session(std::move(*lease), request, sink, watch);
    if (report || report.error().fault != Fault::kNotStarted) return {std::move(report), queue};
    if (attempt == kMaxAttempts) {
      return {fail(Fault::kWorkerLost, fmt::format("{} workers were lost before they began the job; the last: {}",
                                                   attempt, report.error().message)),
              queue};
    }
  }
}

}  // namespace coderunner
