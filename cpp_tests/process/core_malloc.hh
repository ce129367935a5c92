// SPDX-License-Identifier: Apache-2.0
//
// An allocator like that of a host with one thread per core: each thread has an arena of its own, which it uses without
// locks; memory that is freed on another thread goes back to its owner by a queue. Link core_malloc.cc, and the whole
// process allocates by it. It takes nothing back that is not its own, nothing twice, and fills what it hands out and
// what it gets back with rubbish.
#pragma once

#include <cstdint>

namespace core_malloc {

constexpr int arenas = 64;

/// What became of an arena's memory.
struct account {
  std::int64_t blocks = 0;            ///< Handed out and not given back.
  std::int64_t bytes = 0;             ///< Of those.
  std::uint64_t allocations = 0;      ///< Ever.
  std::uint64_t freed_elsewhere = 0;  ///< Given back by threads that are not the owner.
};

account of(int arena);

/// The calling thread's arena. Threads that do not choose share none, and get those of threads that have ended.
int mine();

/// Moves the calling thread to an arena that nobody has.
void use(int arena);

}  // namespace core_malloc
