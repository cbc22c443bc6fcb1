// Role: runs a piece of a test in a process of its own: as another user, with limits, mounts or children of its own.
// Callers: tests of the worker.
// Law: the piece answers with text, empty when all is well; whatever way its process ends otherwise is text as well.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace coderunner::test {

using Piece = std::function<std::string()>;

// In a child process. More than two minutes: killed, "timed out".
std::string in_child(const Piece& piece);
// The same without root's rights: as user and group 54321 when started as root, else as who we are.
std::string as_plain_user(const Piece& piece);
// The same with a mount namespace of its own in which mount(2) is allowed: nothing mounted there outlives it.
std::string with_mounts(const Piece& piece);

// Mounts an empty tmpfs of `bytes` and `inodes` on `path`; the error as text. Inside with_mounts.
std::string mount_tmpfs(const std::string& path, unsigned long bytes, unsigned long inodes);

// Processes and threads of the effective user, this one among them: what RLIMIT_NPROC counts.
unsigned long tasks_of_user();

}  // namespace coderunner::test
