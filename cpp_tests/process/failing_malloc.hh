// SPDX-License-Identifier: Apache-2.0
//
// The system's memory, which can be refused: link failing_malloc.cc, and the whole process allocates by it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace failing {

constexpr std::uint64_t never = UINT64_MAX;

/// What is refused from now on. Allocations are counted from 1, those of all threads together. The C library's own are
/// neither counted nor refused: some of them cannot fail (docs/memory-shortage.md).
struct plan {
  std::uint64_t nth = never;   ///< This one.
  bool lasting = false;        ///< And all after it.
  std::size_t size = SIZE_MAX; ///< All that have so many bytes or more.
  bool kernel = false;         ///< From the first refusal on the kernel gives nothing, either.
  bool tells = false;          ///< Writes who was refused first to standard error.
};

void begin(const plan& p);

struct tally {
  std::uint64_t allocations = 0;
  std::uint64_t refused = 0;
  std::size_t largest = 0;  ///< Bytes of the largest that was asked for.
  std::int64_t peak = 0;    ///< The most bytes that were in use beyond those at the beginning.
};

/// Refuses nothing any more. Nor does the kernel.
tally end();

/// Blocks that were allocated and not freed since the process began.
std::int64_t live();

}  // namespace failing
