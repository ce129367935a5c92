// SPDX-License-Identifier: Apache-2.0
//
// A host's allocator that looks at what it is asked for and at what it gets back.
#pragma once

#include "memory_modes.hh"

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace memory_modes {

class host_allocator {
 public:
  /// For linear memories, or for stacks: about these nobody promises what is in them.
  enum kind { memories, stacks };

  struct block {
    std::size_t bytes;
    std::size_t alignment;
    std::thread::id taken;
    /// What `release` was told, and where.
    std::size_t used = 0;
    std::thread::id given{};
  };

  explicit host_allocator(kind k) : _kind(k) {}
  ~host_allocator() { EXPECT_EQ(live(), 0U) << "everything came back"; }
  host_allocator(const host_allocator&) = delete;
  host_allocator& operator=(const host_allocator&) = delete;

  [[nodiscard]] wasm_allocator table() {
    return {sizeof(wasm_allocator), this, [](void* self) { static_cast<host_allocator*>(self)->drop(); },
            [](void* self, std::size_t bytes, std::size_t alignment) {
              return static_cast<host_allocator*>(self)->allocate(bytes, alignment);
            },
            [](void* self, void* memory, std::size_t bytes, std::size_t used) {
              static_cast<host_allocator*>(self)->release(memory, bytes, used);
            }};
  }

  [[nodiscard]] std::size_t live() const {
    const std::lock_guard lock(_mutex);
    return _live.size();
  }
  /// Blocks that came back, in that order.
  [[nodiscard]] std::vector<block> released() const {
    const std::lock_guard lock(_mutex);
    return _released;
  }
  /// Blocks that are there.
  [[nodiscard]] std::vector<block> held() const {
    const std::lock_guard lock(_mutex);
    std::vector<block> out;
    for (const auto& [at, b] : _live) {
      out.push_back(b);
    }
    return out;
  }

  /// So many blocks, then NULL.
  std::atomic<int> left{1 << 30};
  /// Added to each address: breaks the alignment.
  std::atomic<std::size_t> shift{0};
  std::atomic<int> drops{0};
  /// Calls of `allocate`.
  std::atomic<int> asked{0};
  /// Is called in `allocate`, with whatever stack there is.
  std::function<void()> on_allocate;

 private:
  void* allocate(std::size_t bytes, std::size_t alignment) {
    EXPECT_EQ(drops, 0);
    EXPECT_GT(bytes, 0U);
    EXPECT_EQ(bytes % 4'096, 0U);
    EXPECT_GE(alignment, 4'096U);
    EXPECT_EQ(alignment & (alignment - 1), 0U);
    ++asked;
    if (on_allocate) {
      on_allocate();
    }
    if (left.fetch_sub(1) <= 0) {
      left = 0;
      return nullptr;
    }
    auto* memory = static_cast<std::uint8_t*>(mapping.allocate(nullptr, bytes + shift, alignment));
    if (memory == nullptr) {
      return nullptr;
    }
    memory += shift;
    if (_kind == stacks) {
      std::memset(memory, 0xaa, bytes);
    }
    const std::lock_guard lock(_mutex);
    _live[memory] = {bytes, alignment, std::this_thread::get_id()};
    return memory;
  }

  void release(void* memory, std::size_t bytes, std::size_t used) {
    EXPECT_EQ(drops, 0);
    auto* first = static_cast<std::uint8_t*>(memory);
    block b{};
    {
      const std::lock_guard lock(_mutex);
      const auto found = _live.find(first);
      ASSERT_NE(found, _live.end()) << "what was never given, or came back before";
      b = found->second;
      _live.erase(found);
    }
    EXPECT_EQ(b.bytes, bytes);
    EXPECT_LE(used, bytes);
    b.used = used;
    b.given = std::this_thread::get_id();
    if (_kind == memories) {
      EXPECT_TRUE(std::all_of(first + used, first + bytes, [](std::uint8_t byte) { return byte == 0; }));
    } else {
      // The guards must be gone: each byte can be written and read.
      std::memset(first, 0x5c, bytes);
      EXPECT_TRUE(std::all_of(first, first + bytes, [](std::uint8_t byte) { return byte == 0x5c; }));
    }
    const std::lock_guard lock(_mutex);
    _released.push_back(b);
    munmap(first - shift, bytes + shift);
  }

  void drop() {
    EXPECT_EQ(++drops, 1);
    EXPECT_EQ(live(), 0U) << "nothing comes back after the drop";
  }

  const kind _kind;
  mutable std::mutex _mutex;
  std::map<std::uint8_t*, block> _live;
  std::vector<block> _released;
};

/// Both allocators of a runtime.
struct host_allocators {
  host_allocator memory{host_allocator::memories};
  host_allocator stack{host_allocator::stacks};
  wasm_allocator memory_table = memory.table();
  wasm_allocator stack_table = stack.table();

  [[nodiscard]] wasm_runtime_config config(wasm_memory_mode mode, wasm_runtime_config base = {}) {
    base.size = sizeof(base);
    base.memory_mode = mode;
    base.memory_allocator = &memory_table;
    base.stack_allocator = &stack_table;
    return base;
  }
  void expect_dropped_once(const std::string& when) const {
    EXPECT_EQ(memory.drops, 1) << when;
    EXPECT_EQ(stack.drops, 1) << when;
  }
};

}  // namespace memory_modes
