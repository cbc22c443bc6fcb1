// Role: namespaces: the worker's own, made once, and the ones that each job's init is born into.
// Callers: sandbox.cc.
// Law: full level only. The worker holds every capability inside its user namespace and none outside.
#pragma once

#include "common/child.h"
#include "common/job.h"
#include "common/result.h"

namespace coderunner {

// Moves this single-threaded process into new user, mount, network, IPC and UTS namespaces (unshare(2); unprivileged
// since Linux 3.8 where the system allows it), maps its user to kJobUid/kJobGid, makes every mount private and brings
// the loopback interface of the empty network up. NetworkMode::kHost: no network namespace. Not undone on failure: try
// it in a forked process first.
Result<void> enter_worker_namespaces(NetworkMode network);

// clone3(2) with CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS: in the child, which is PID 1 of the new namespaces, the
// Child is not running(). The raw call leaves libc's cached thread id stale in the child: it must not call raise(),
// abort() or use robust mutexes; everything that init does is plain system calls.
Result<Child> clone_init();

// The same for the reduced level: fork(2), no namespaces.
Result<Child> fork_init();

}  // namespace coderunner
