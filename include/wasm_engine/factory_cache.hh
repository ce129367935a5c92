// SPDX-License-Identifier: Apache-2.0
//
// A cache of factories. A key is compiled once and its factory is kept as long as it is used.
//
//     auto cache = we::factory_cache::create(runtime).value();
//     auto compilation = cache.get("orders-v7", module, transform).value();   // on any shard, at any time
//     co_await compilation;
//     auto factory = compilation.take().value();
//     cache.collect(std::chrono::minutes(5)).value();                         // now and then
#pragma once

#include "runtime.hh"

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

namespace wasmengine {

/// When a factory cache drops factories by itself.
struct factory_cache_config {
  std::chrono::nanoseconds idle{};              ///< Unused for that long. Zero: five minutes.
  std::chrono::nanoseconds collect_interval{};  ///< Looked for that often, in `get`. Zero: never.
};

/// Statistics of a factory cache since it was made. Members as in the C header.
using factory_cache_stats = wasm_factory_cache_stats;

/// A cache of a runtime's factories. It keeps the runtime alive. Several threads may use it at once.
class factory_cache {
 public:
  factory_cache() noexcept = default;

  [[nodiscard]] static result<factory_cache> create(const runtime& runtime,
                                                    const factory_cache_config& config = {}) noexcept {
    const wasm_factory_cache_config c{sizeof(c), nanoseconds(config.idle), nanoseconds(config.collect_interval)};
    return detail::make<factory_cache>([&](wasm_factory_cache** out, wasm_error** e) {
      return wasm_factory_cache_create(runtime.get(), &c, out, e);
    });
  }

  /// The factory with this key. Compiled if it is neither in the cache nor being compiled. Everything is copied. An
  /// error if the key belongs to another module or description. With an empty key module and description are the key.
  [[nodiscard]] result<compilation> get(std::string_view key, std::span<const std::uint8_t> module,
                                        const transform_config& t) const {
    return detail::make_factory(module, t, [&](const wasm_factory_config& config, wasm_future** out, wasm_error** e) {
      return wasm_factory_cache_get(get(), as_slice(key), &config, out, e);
    });
  }

  /// The factory with this key if it is in the cache or being compiled. Otherwise `WASM_STATUS_NOT_CACHED`. Cheap.
  [[nodiscard]] result<compilation> get(std::string_view key) const noexcept {
    return detail::make<compilation>([&](wasm_future** out, wasm_error** e) {
      return wasm_factory_cache_get(get(), as_slice(key), nullptr, out, e);
    });
  }

  /// Drops factories that were unused for that long. Returns their number.
  result<std::uint64_t> collect(std::chrono::nanoseconds min_idle = {}) const noexcept {
    std::uint64_t collected = 0;
    auto done = detail::call([&](wasm_error** e) {
      return wasm_factory_cache_collect(get(), nanoseconds(min_idle), &collected, e);
    });
    if (!done) {
      return done.err();
    }
    return collected;
  }

  [[nodiscard]] result<factory_cache_stats> stats() const noexcept {
    factory_cache_stats stats{};
    stats.size = sizeof(stats);
    auto got = detail::call([&](wasm_error** e) { return wasm_factory_cache_get_stats(get(), &stats, e); });
    if (!got) {
      return got.err();
    }
    return stats;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_factory_cache* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_factory_cache** out() noexcept { return _raw.out(); }

 private:
  /// Negative durations count as zero.
  static std::uint64_t nanoseconds(std::chrono::nanoseconds time) noexcept {
    return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
  }

  handle<wasm_factory_cache, wasm_factory_cache_release> _raw;
};

}  // namespace wasmengine
