// Role: runs a piece of a test under system-call filters.
// Callers: the tests of seccomp_filter.
#pragma once

#include <initializer_list>
#include <string>

#include "support/forked.h"
#include "worker/seccomp_filter.h"

namespace coderunner::test {

// The worker's filter, and a script's at either level: in a sandbox by default, on the host's network, and where no
// cgroup counts its memory.
enum class FilterKind : std::uint8_t {
  kWorker, kScriptFull, kScriptReduced, kFullOnHost, kReducedOnHost, kFullUncharged, kReducedUncharged,
};
ScriptFacts facts_of(FilterKind kind);     // of a script's
const Filter& filter_of(FilterKind kind);  // compiled once a test program

// Confines this process for good, in the order given, then runs the piece. Inside in_child or ending.
std::string under(std::initializer_list<FilterKind> kinds, const Piece& piece);

// How a process that runs `body` ends: "exit 0" when its text is empty, "exit 1" with the text on standard error when
// not, "exit N" when it executes something else, "signal NAME" when it is killed.
std::string ending(const Piece& body);

// A script meets the filters as root of a sandbox and as a user like any other.
using Identity = std::string (*)(const Piece&);
inline std::string as_root(const Piece& piece) { return in_child(piece); }
inline constexpr Identity kIdentities[] = {as_root, as_plain_user};

}  // namespace coderunner::test
