// SPDX-License-Identifier: Apache-2.0
//
// Record batches and record payloads.
#pragma once

#include "error.hh"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace wasmengine {

/// A key or a value: text or bytes or null.
using field = std::optional<std::string_view>;

/// A header of a record.
struct header {
  std::string_view key;
  field value;
};

/// A record's key, value and headers as views.
struct payload {
  field key;
  field value;
  std::vector<header> headers;

  /// Parses an encoded payload. The views point into `bytes`.
  [[nodiscard]] static result<payload> read(std::span<const std::uint8_t> bytes) {
    std::array<wasm_header, 16> few;
    std::vector<wasm_header> many;
    std::span<wasm_header> room(few);
    wasm_payload raw{};
    for (;;) {
      auto done = detail::call([&](wasm_error** e) {
        return wasm_payload_read(as_slice(bytes), &raw, room.data(), room.size(), e);
      });
      if (!done) {
        return done.err();
      }
      if (raw.header_count <= room.size()) {
        break;
      }
      many.resize(raw.header_count);
      room = many;
    }
    payload out{view(raw.key), view(raw.value), {}};
    for (const auto& h : room.first(raw.header_count)) {
      out.headers.push_back({*view(h.key), view(h.value)});
    }
    return out;
  }

  static field view(wasm_field raw) noexcept {
    if (raw.size < 0) {
      return std::nullopt;
    }
    return std::string_view(reinterpret_cast<const char*>(raw.data), static_cast<std::size_t>(raw.size));
  }

  static wasm_field raw(const field& f) noexcept {
    if (!f) {
      return {nullptr, -1};
    }
    return {reinterpret_cast<const std::uint8_t*>(f->data()), static_cast<std::int64_t>(f->size())};
  }
};

/// Settings of a batch.
struct batch_config {
  std::int64_t base_offset = 0;
  wasm_compression compression = WASM_COMPRESSION_NONE;
  std::optional<std::int64_t> append_time = std::nullopt;  ///< The broker's time for all records.
  std::uint64_t max_bytes = 0;    ///< Of the whole batch before compression. 0: 2 GiB.
  std::uint32_t max_records = 0;  ///< 0: no limit.
};

/// Reads the header at the front of `bytes`.
[[nodiscard]] inline result<wasm_batch_header> read_batch_header(std::span<const std::uint8_t> bytes) noexcept {
  wasm_batch_header header{};
  auto done = detail::call([&](wasm_error** e) { return wasm_batch_read_header(as_slice(bytes), &header, e); });
  if (!done) {
    return done.err();
  }
  return header;
}

/// What a batch has before it is finished.
struct batch_size {
  std::uint64_t bytes = 0;  ///< Before compression, with the header.
  std::uint32_t records = 0;
};

/// Packs records into batches.
class batch_builder {
 public:
  batch_builder() noexcept = default;

  [[nodiscard]] static result<batch_builder> create(const batch_config& config = {}) noexcept {
    const wasm_batch_config raw = as_raw(config);
    return detail::make<batch_builder>(
        [&](wasm_batch_builder** out, wasm_error** e) { return wasm_batch_builder_create(&raw, out, e); });
  }

  /// Begins another batch in the same memory.
  result<void> reset(const batch_config& config = {}) noexcept {
    const wasm_batch_config raw = as_raw(config);
    return detail::call([&](wasm_error** e) { return wasm_batch_builder_reset(_raw.get(), &raw, e); });
  }

  /// Adds a record. At the next offset unless one is given. `WASM_STATUS_BATCH_FULL` if the batch would exceed a limit
  /// of its config: finish it, reset the builder and add the record again.
  result<void> add(std::int64_t timestamp, const payload& p, std::optional<std::int64_t> offset = {}) {
    std::vector<wasm_header> headers;
    for (const auto& h : p.headers) {
      headers.push_back({payload::raw(h.key), payload::raw(h.value)});
    }
    const wasm_payload raw{payload::raw(p.key), payload::raw(p.value), headers.data(), headers.size()};
    return detail::call([&](wasm_error** e) {
      return wasm_batch_builder_add(_raw.get(), offset.value_or(-1), timestamp, &raw, e);
    });
  }

  /// Adds a record whose payload is encoded already.
  result<void> add_encoded(std::int64_t timestamp, std::span<const std::uint8_t> encoded,
                           std::optional<std::int64_t> offset = {}) noexcept {
    return detail::call([&](wasm_error** e) {
      return wasm_batch_builder_add_encoded(_raw.get(), offset.value_or(-1), timestamp, as_slice(encoded), e);
    });
  }

  /// What the batch would have if it were finished now.
  [[nodiscard]] result<batch_size> size() const noexcept {
    batch_size out;
    auto done = detail::call(
        [&](wasm_error** e) { return wasm_batch_builder_size(_raw.get(), &out.bytes, &out.records, e); });
    if (!done) {
      return done.err();
    }
    return out;
  }

  /// The batch. The view ends when the builder is next used.
  [[nodiscard]] result<std::span<const std::uint8_t>> finish() noexcept {
    wasm_slice batch{};
    auto done = detail::call([&](wasm_error** e) { return wasm_batch_builder_finish(_raw.get(), &batch, e); });
    if (!done) {
      return done.err();
    }
    return as_bytes(batch);
  }

  [[nodiscard]] wasm_batch_builder** out() noexcept { return _raw.out(); }

 private:
  static wasm_batch_config as_raw(const batch_config& c) noexcept {
    return {sizeof(wasm_batch_config), c.base_offset, c.compression, c.append_time.has_value() ? 1U : 0U,
            c.append_time.value_or(0), c.max_bytes, c.max_records};
  }

  handle<wasm_batch_builder, wasm_batch_builder_release> _raw;
};

}  // namespace wasmengine
