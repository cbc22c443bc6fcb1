// Role: what a runner says of itself through its report pipe.
// Callers: sandbox.cc, pump.cc, run_job.cc.
// Law: any process of the job can write there. So it is taken for the detail of a report, and as a hint of when to look
// at what the kernel knows; never as the truth about anything else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/job.h"

namespace coderunner {

// The report pipe's bytes: the version of a parked interpreter, the exception that ended a script.
// Unknown or cut records are left out: a script can write there, and harms only its own report.
struct BootReport {
  std::string version;
  std::optional<ExceptionInfo> exception;
  struct Ended {
    std::uint64_t peak_memory_bytes = 0;  // of the largest of the runner and the children that it waited for
  };
  std::optional<Ended> ended;
};
BootReport parse_boot_report(std::string_view bytes);

}  // namespace coderunner
