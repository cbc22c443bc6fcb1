// Role: from what happened to what the contract calls it: one table's worth of rules, pure.
// Callers: run_job.cc.
#pragma once

#include <string_view>

#include "common/job.h"
#include "worker/pump.h"

namespace coderunner {

struct Evidence {
  RunOutcome outcome;
  bool oom_killed = false;      // the kernel ended a process of the job for want of memory
  bool address_wall = false;    // RLIMIT_AS stands in for a memory cgroup: then a MemoryError is the limit's
};

// Fills exit_code, verdict, signal, limit and reason; `report.exception` must have been filled before.
void pass_verdict(const Evidence& evidence, ExitReport& report);

// The report pipe's bytes: the version of a parked interpreter, the exception that ended a script.
// Unknown or cut records are left out: a script can write there, and harms only its own report.
struct BootReport {
  std::string version;
  std::optional<ExceptionInfo> exception;
  struct Ended {
    std::uint8_t status = 0;              // what exit(3) was given, as wait(2) would show it
    std::uint64_t cpu_us = 0;             // of the runner and of the children that it waited for
    std::uint64_t peak_memory_bytes = 0;  // of the largest of these
  };
  std::optional<Ended> ended;
};
BootReport parse_boot_report(std::string_view bytes);

}  // namespace coderunner
