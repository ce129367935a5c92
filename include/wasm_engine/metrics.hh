// SPDX-License-Identifier: Apache-2.0
//
// Metrics as numbers for the host's metrics system or as text for Prometheus.
//
//     auto snapshot = we::metrics::create(runtime).value();   // once
//     snapshot.update().value();                              // whenever the host's system asks
//     for (const auto m : snapshot) { gauge(m.transform(), m.shard()).set(m->memory_bytes); }
#pragma once

#include "runtime.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace wasmengine {

/// One transform on one shard. Names and lists are views into the snapshot.
class transform_metrics {
 public:
  explicit transform_metrics(const wasm_transform_metrics& raw) noexcept : _raw(raw) {}

  [[nodiscard]] std::string_view transform() const noexcept { return as_text(_raw.transform); }
  [[nodiscard]] std::uint32_t shard() const noexcept { return _raw.shard; }
  /// The histogram of record latencies. The last bucket has no end.
  [[nodiscard]] std::span<const wasm_latency_bucket> latency() const noexcept {
    return {_raw.latency, _raw.latency_count};
  }
  /// Kinds of failures that occurred.
  [[nodiscard]] std::span<const wasm_error_count> errors() const noexcept { return {_raw.errors, _raw.error_count}; }
  /// Failures with this status.
  [[nodiscard]] std::uint64_t errors(wasm_status status) const noexcept {
    for (const auto& error : errors()) {
      if (error.status == status) {
        return error.count;
      }
    }
    return 0;
  }

  /// Output by topic. `as_text` reads a name.
  [[nodiscard]] std::span<const wasm_topic_metrics> topics() const noexcept { return {_raw.topics, _raw.topic_count}; }
  /// The code of current engines.
  [[nodiscard]] std::span<const wasm_code_metrics> codes() const noexcept { return {_raw.codes, _raw.code_count}; }
  /// Records between the engines and the ends of their inputs if a host told an end.
  [[nodiscard]] std::optional<std::uint64_t> lag() const noexcept {
    return _raw.has_lag ? std::optional(_raw.lag_records) : std::nullopt;
  }
  /// Time since guests last took records, of the engine where it is shortest. None without engines.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> since_progress() const noexcept {
    if (_raw.since_progress_ns == std::numeric_limits<std::uint64_t>::max()) {
      return std::nullopt;
    }
    return std::chrono::nanoseconds(_raw.since_progress_ns);
  }

  /// The numbers.
  [[nodiscard]] const wasm_transform_metrics& operator*() const noexcept { return _raw; }
  [[nodiscard]] const wasm_transform_metrics* operator->() const noexcept { return &_raw; }

 private:
  wasm_transform_metrics _raw;
};

/// A snapshot of all metrics of a runtime: a range of `transform_metrics` by name and shard. One thread at a time. Its
/// views end with the next `update`.
class metrics {
 public:
  class iterator {
   public:
    using value_type = transform_metrics;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    iterator(const metrics* all, std::size_t index) noexcept : _all(all), _index(index) {}
    [[nodiscard]] transform_metrics operator*() const noexcept { return (*_all)[_index]; }
    iterator& operator++() noexcept {
      ++_index;
      return *this;
    }
    iterator operator++(int) noexcept { return {_all, _index++}; }
    [[nodiscard]] bool operator==(const iterator&) const noexcept = default;

   private:
    const metrics* _all = nullptr;
    std::size_t _index = 0;
  };

  metrics() noexcept = default;

  /// Takes a snapshot of a runtime's metrics. Any thread, also while engines run on others.
  [[nodiscard]] static result<metrics> create(const runtime& runtime) noexcept {
    return detail::make<metrics>(
        [&](wasm_metrics** out, wasm_error** e) { return wasm_metrics_create(runtime.get(), out, e); });
  }

  /// Takes the snapshot again. Allocates only if there is more than ever before.
  result<void> update() noexcept {
    return detail::call([&](wasm_error** e) { return wasm_metrics_update(get(), e); });
  }

  [[nodiscard]] std::size_t size() const noexcept { return wasm_metrics_count(get()); }
  /// All zero if `index` is not below `size()`.
  [[nodiscard]] transform_metrics operator[](std::size_t index) const noexcept {
    wasm_transform_metrics raw{};
    raw.size = sizeof(raw);
    (void)wasm_metrics_get(get(), index, &raw, nullptr);
    return transform_metrics(raw);
  }
  [[nodiscard]] iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] iterator end() const noexcept { return {this, size()}; }

  /// The runtime's own numbers.
  [[nodiscard]] wasm_runtime_metrics runtime_metrics() const noexcept {
    wasm_runtime_metrics raw{};
    raw.size = sizeof(raw);
    (void)wasm_metrics_get_runtime(get(), &raw, nullptr);
    return raw;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_metrics* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_metrics** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_metrics, wasm_metrics_release> _raw;
};

/// The runtime's own numbers now. Allocates only for the kinds of failed compilations.
[[nodiscard]] inline result<wasm_runtime_metrics> runtime_metrics(const runtime& runtime) noexcept {
  wasm_runtime_metrics raw{};
  raw.size = sizeof(raw);
  auto done = detail::call([&](wasm_error** e) { return wasm_runtime_get_metrics(runtime.get(), &raw, e); });
  if (!done) {
    return done.err();
  }
  return raw;
}

/// All metrics now in Prometheus's text format.
[[nodiscard]] inline result<std::string> metrics_text(const runtime& runtime) {
  handle<wasm_bytes, wasm_bytes_release> text;
  auto done =
      detail::call([&](wasm_error** e) { return wasm_runtime_metrics_text(runtime.get(), text.out(), e); });
  if (!done) {
    return done.err();
  }
  return std::string(as_text(wasm_bytes_view(text.get())));
}

}  // namespace wasmengine
