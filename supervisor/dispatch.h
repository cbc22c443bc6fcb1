// Role: one job on the workers of a pool: borrows one, runs the job's session, and tries another one when a worker is
// lost before the job began.
// Callers: run_route.cc, run_command.cc.
// Law: a job is given away again only while no line of its script has run, and the sink has heard nothing.
#pragma once

#include <functional>

#include "common/job.h"
#include "common/result.h"
#include "common/units.h"
#include "supervisor/pool.h"
#include "supervisor/session.h"

namespace coderunner {

// Workers that a job is given to at most. One that dies idle may be lent before its death is known; that several do so
// in a row, each with the same job, is no accident any more.
inline constexpr unsigned kMaxAttempts = 3;

struct Dispatched {
  // Errors: those of Pool::borrow (kBusy, kUnavailable: no line has run), kClient when the client has gone,
  // kWorkerLost.
  Result<ExitReport> report;
  Micros queue{0};  // spent waiting for workers
};

// `held`, in bytes, counts against the queue's limit while the job waits (Pool::borrow). `on_lease` is called each time
// a worker has been found, with the time spent waiting until then.
Dispatched dispatch_job(Pool& pool, Bytes held, const RunRequest& request, JobSink& sink, const SessionWatch& watch,
                        const std::function<void(Micros)>& on_lease = [](Micros) {});

}  // namespace coderunner
