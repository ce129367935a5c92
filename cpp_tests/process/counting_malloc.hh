// SPDX-License-Identifier: Apache-2.0
//
// The system's memory, counted: link counting_malloc.cc, and the whole process allocates by it.
#pragma once

#include <cstdint>

namespace counting {

/// What any thread of the process has done while it was counted.
struct tally {
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
};

/// Counts from here on. The first few callers are told on standard error.
void begin(bool tell = true);

/// Counts no longer.
tally end();

}  // namespace counting
