// Role: what a process gives up about itself: capabilities, the way to get them back, its dumpability, its place in the
// kernel's choice of victims.
// Callers: the runner between fork and exec (drop_privileges as a whole); the worker for its own.
// Law: every step is one way. None needs a privilege; those that could use one say what happens without it.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "common/result.h"

namespace coderunner {

// Nothing executed from now on gains a privilege (set-user-id, file capabilities). Also what lets a process without
// capabilities install filters.
Result<void> set_no_new_privileges();

// Locks the secure bits so that user id 0 means nothing any more: neither exec nor a change of user ids brings
// capabilities (capabilities(7), securebits). Needs CAP_SETPCAP; without it does nothing, no_new_privs covers exec.
Result<void> lock_securebits();

// Empties all five sets. The bounding set needs CAP_SETPCAP; without it, that one stays and means nothing under
// no_new_privs.
Result<void> drop_capabilities();

// no_new_privs, secure bits, capabilities, in the order that works; then verifies that nothing is left.
Result<void> drop_privileges();

// no_new_privs, and of all capabilities only these, in a way that execve(2) keeps: inheritable and ambient
// (capabilities(7), Linux 4.3). The bounding set is emptied: it limits what files give, not what is ambient.
Result<void> keep_over_exec(std::initializer_list<int> capabilities);

// Whether others of the same user may read /proc/<pid>/mem and attach (proc(5), prctl(2) PR_SET_DUMPABLE). Files of a
// process that is not dumpable belong to root. exec makes a process dumpable again.
enum class Dumpable : std::uint8_t { kNo = 0, kYes = 1 };
Result<void> set_dumpable(Dumpable dumpable);

// The kernel kills this process first when the machine runs out of memory; raising needs no privilege (proc(5)).
// Needs /proc. Inherited over fork and exec.
inline constexpr int kFirstVictim = 1000;
Result<void> set_oom_score_adjustment(int adjustment);

// 022, as in a login shell: what a script creates is readable by the worker that collects it.
void set_usual_umask();

}  // namespace coderunner
