// Role: how one sees that a client has gone, without reading from it.
// Callers: queue.cc (a request that waits), session.cc (a job that runs).
#pragma once

#include <poll.h>

namespace coderunner {

// A poll(2) entry that wakes when the peer has closed; POLLHUP and POLLERR come unasked. An fd of -1 is passed over.
// POLLIN is not asked for: a next request in the pipe is no hang-up and would wake us for ever.
inline pollfd watch_client(int client_fd) { return {.fd = client_fd, .events = POLLRDHUP, .revents = 0}; }

inline bool hung_up(const pollfd& entry) { return (entry.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0; }

}  // namespace coderunner
