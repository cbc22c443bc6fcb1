// Role: every limit of the service and its default, on one page.
// Callers: settings (each is a flag, an environment variable and a config-file key), request checks, workers.
// Law: a limit is written down nowhere else; the fixed ones at the end are part of the contract and not settable.
#pragma once

#include "common/units.h"

namespace coderunner {

struct Limits {
  // What a request may ask for.
  std::uint64_t max_timeout_s = 300;     // above it timeout_s is clamped
  std::uint64_t default_timeout_s = 60;  // without timeout_s
  Bytes script_bytes = 256 * kKiB;       // the script, UTF-8
  std::uint64_t files = 20;              // files in `context` or `files`
  Bytes file_bytes = 5 * kMiB;           // one file, decoded; stdin too
  Bytes files_bytes = 10 * kMiB;         // all files together, decoded
  Bytes body_bytes = 32 * kMiB;          // the HTTP body

  // What a job may use.
  Bytes memory_bytes = 1536 * kMiB;
  std::uint64_t processes = 128;         // processes and threads together
  Bytes scratch_bytes = 256 * kMiB;      // working directory, /tmp and /dev/shm together
  std::uint64_t scratch_inodes = 16384;
  std::uint64_t descriptors = 1024;      // RLIMIT_NOFILE

  // What an answer may hold.
  Bytes stdout_bytes = 10 * kMiB;
  Bytes stderr_bytes = 10 * kMiB;
  Bytes artifacts_bytes = 10 * kMiB;
  std::uint64_t artifacts = 1000;
};

// Fixed by the contract.
inline constexpr std::size_t kMaxArgs = 64;
inline constexpr Bytes kMaxArgsBytes = 8 * kKiB;
inline constexpr std::size_t kMaxEnv = 64;
inline constexpr Bytes kMaxEnvBytes = 32 * kKiB;
inline constexpr std::size_t kMaxPathBytes = 1024;  // one path in `files`; a name in `context` is at
                                                    // most 255 (NAME_MAX)
inline constexpr std::size_t kMaxNameBytes = 255;

// What a run that timed out adds to stderr at most: the stacks of its threads.
inline constexpr Bytes kStackBytes = kMiB;

// Of the HTTP server; no client of the contract comes near them.
inline constexpr std::size_t kMaxRequestLineBytes = 8 * kKiB;  // 414 above (RFC 9112 section 3 asks for 8000 at least)
inline constexpr std::size_t kMaxHeadBytes = 32 * kKiB;        // request line and header fields; 431 above
inline constexpr std::size_t kMaxHeaderFields = 100;           // 431 above
inline constexpr std::size_t kMaxChunkLineBytes = 1 * kKiB;    // a chunk's size and extensions; a trailer field
inline constexpr std::size_t kMaxConnections = 4096;           // 503 above; fewer where descriptors are (launch.h)
inline constexpr std::size_t kMaxLingering = 256;              // of those turned away, at a time

}  // namespace coderunner
