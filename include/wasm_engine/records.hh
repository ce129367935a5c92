// SPDX-License-Identifier: Apache-2.0
//
// Records for `engine::transform_records`: for hosts that have records and no batch.
#pragma once

#include "batch.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace wasmengine {

/// Records in memory that is used again. Keys, values and headers are borrowed until the operation has completed that
/// gets the records. So is this list: it must not change meanwhile.
class record_list {
 public:
  /// Adds a record. `p` itself need not outlive the call. What its fields point to must.
  void add(const payload& p, std::int64_t offset, std::int64_t timestamp, std::uint8_t attributes = 0) {
    for (const auto& h : p.headers) {
      _headers.push_back({payload::raw(h.key), payload::raw(h.value)});
    }
    add(payload::raw(p.key), payload::raw(p.value), p.headers.size(), offset, timestamp, attributes);
  }

  /// Adds a record without headers.
  void add(const field& key, const field& value, std::int64_t offset, std::int64_t timestamp,
           std::uint8_t attributes = 0) {
    add(payload::raw(key), payload::raw(value), 0, offset, timestamp, attributes);
  }

  void clear() noexcept {
    _records.clear();
    _headers.clear();
  }

  [[nodiscard]] std::size_t size() const noexcept { return _records.size(); }
  [[nodiscard]] bool empty() const noexcept { return _records.empty(); }

  /// What `engine::transform_records` takes. Valid until the list changes.
  [[nodiscard]] std::span<const wasm_record> all() noexcept {
    const wasm_header* next = _headers.data();
    for (auto& r : _records) {
      r.payload.headers = next;
      next += r.payload.header_count;
    }
    return _records;
  }

 private:
  void add(wasm_field key, wasm_field value, std::size_t headers, std::int64_t offset, std::int64_t timestamp,
           std::uint8_t attributes) {
    _records.push_back({{key, value, nullptr, headers}, offset, timestamp, attributes});
  }

  std::vector<wasm_record> _records;
  std::vector<wasm_header> _headers;
};

}  // namespace wasmengine
