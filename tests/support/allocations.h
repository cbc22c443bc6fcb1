// Role: tells a test the largest piece of memory that was asked for.
// Callers: tests of code that must look at a length before it allocates.
// Law: operator new is replaced in the whole test program; it counts, and is malloc otherwise.
#pragma once

#include <cstddef>

namespace coderunner::test {

// Forgets what was allocated before.
void reset_largest_allocation();
// The largest argument of operator new since then, in bytes, by any thread.
std::size_t largest_allocation();

}  // namespace coderunner::test
