// SPDX-License-Identifier: Apache-2.0
//
// What a thread that polls engines needs: signals, a pool and reclaimed memories.
#pragma once

#include "runtime.hh"

#include <cstddef>
#include <cstdint>

namespace wasmengine {

/// Prepares this thread for polling engines of `runtime`. See `wasm_thread_prepare`. `engines` is for memory mode
/// THREAD_POOL: how many this thread will have started at the same time. `shard` labels the thread in metrics. 0 leaves
/// the label as it was.
[[nodiscard]] inline result<void> prepare_thread(const runtime& runtime, std::uint64_t engines = 0,
                                                 std::uint32_t shard = 0) noexcept {
  const wasm_thread_config config{sizeof(config), engines, shard};
  return detail::call([&](wasm_error** e) { return wasm_thread_prepare(runtime.get(), &config, e); });
}

/// Releases this thread's pool. No engine may use it.
[[nodiscard]] inline result<void> release_thread(const runtime& runtime) noexcept {
  return detail::call([&](wasm_error** e) { return wasm_thread_release(runtime.get(), e); });
}

/// Unblocks the signals by which `runtime` notices traps on this thread.
[[nodiscard]] inline result<void> unblock_signals(const runtime& runtime) noexcept {
  return detail::call([&](wasm_error** e) { return wasm_thread_unblock_signals(runtime.get(), e); });
}

/// Cleans up to `bytes` bytes of memories that stopped engines left in this thread's pool. True if some are left.
[[nodiscard]] inline result<bool> reclaim_thread(const runtime& runtime, std::size_t bytes) noexcept {
  bool more = false;
  auto done = detail::call([&](wasm_error** e) { return wasm_thread_reclaim(runtime.get(), bytes, &more, e); });
  if (!done) {
    return done.err();
  }
  return more;
}

/// The state of this thread's pool.
[[nodiscard]] inline result<wasm_thread_pool> thread_pool(const runtime& runtime) noexcept {
  wasm_thread_pool pool{};
  pool.size = sizeof(pool);
  auto done = detail::call([&](wasm_error** e) { return wasm_thread_get_pool(runtime.get(), &pool, e); });
  if (!done) {
    return done.err();
  }
  return pool;
}

}  // namespace wasmengine
