// Role: the system-call policy as text, a line a row, for people and for scripts/trace-syscalls.
// Callers: main.cc (`coderunner-worker --print-policy`).
#pragma once

#include <string>

namespace coderunner {

// Fields are parted by tabs. Of seccomp_policy.h, what a script may do:
//   row        NAME  allow|deny|conditional|full-only|enosys  REASON
// Of seccomp_conditions.h, what a script may do under a condition, without a network and with its memory counted by a
// cgroup; each test is ARGUMENT:MASK:VALUE, in hexadecimal but for the first, and all of them have to hold:
//   condition  NAME  full|reduced|full,reduced  TEST TEST…  REASON
std::string describe_policy();

}  // namespace coderunner
