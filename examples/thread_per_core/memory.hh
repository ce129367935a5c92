// SPDX-License-Identifier: Apache-2.0
//
// The host's own memory for guests. Each thread's pool is one block for memories and one for stacks.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

/// Maps pages and counts them. The pages of a block come from the NUMA node of the thread that touches them first: the
/// engines' thread. A broker would take memory that it has reserved, or huge pages.
class page_allocator {
 public:
  /// The table for `wasm_runtime_config`. This object must outlive the runtime and all that was made from it.
  [[nodiscard]] wasm_allocator table() noexcept { return {sizeof(wasm_allocator), this, nullptr, allocate, release}; }
  [[nodiscard]] std::size_t bytes() const noexcept { return _bytes; }

 private:
  // Fresh pages read as zero, as a block for memories must.
  static void* allocate(void* data, std::size_t bytes, std::size_t alignment) noexcept {
    auto* all = static_cast<std::byte*>(
        mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (all == MAP_FAILED) {
      return nullptr;  // The thread's preparation fails with WASM_STATUS_SYSTEM.
    }
    const std::size_t before = (alignment - reinterpret_cast<std::uintptr_t>(all) % alignment) % alignment;
    if (before != 0) {
      munmap(all, before);
    }
    if (before != alignment) {
      munmap(all + before + bytes, alignment - before);
    }
    static_cast<page_allocator*>(data)->_bytes += bytes;
    return all + before;
  }

  static void release(void* data, void* memory, std::size_t bytes, std::size_t) noexcept {
    munmap(memory, bytes);
    static_cast<page_allocator*>(data)->_bytes -= bytes;
  }

  std::atomic<std::size_t> _bytes{0};
};
