// SPDX-License-Identifier: Apache-2.0
//
// Kafka's record batches, magic 2, written and read by code of the tests' own: what the library is checked against. No
// line of it is the library's, and it is written for clarity, not speed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kafka {

using bytes = std::vector<std::uint8_t>;
using view = std::span<const std::uint8_t>;
using field = std::optional<std::string>;

inline void append(bytes& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }
inline void append(bytes& out, view more) { out.insert(out.end(), more.begin(), more.end()); }
inline std::string text(view b) { return {b.begin(), b.end()}; }

/// CRC-32C (Castagnoli), bit by bit.
inline std::uint32_t crc32c(view data) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::uint8_t byte : data) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    }
  }
  return ~crc;
}

/// A zigzag varint.
inline void put_varint(bytes& out, std::int64_t value) {
  auto z = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  for (; z >= 0x80; z >>= 7) {
    out.push_back(static_cast<std::uint8_t>(z | 0x80));
  }
  out.push_back(static_cast<std::uint8_t>(z));
}

inline void put_field(bytes& out, const field& f) {
  put_varint(out, f ? static_cast<std::int64_t>(f->size()) : -1);
  append(out, f ? std::string_view(*f) : std::string_view());
}

/// Appends `size` bytes, big-endian.
inline void put_int(bytes& out, std::int64_t value, int size) {
  for (int i = size - 1; i >= 0; --i) {
    out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

/// Takes things off the front; throws when they are not there.
class reader {
 public:
  explicit reader(view data) : _rest(data) {}
  [[nodiscard]] bool empty() const { return _rest.empty(); }
  [[nodiscard]] view rest() const { return _rest; }

  view take(std::size_t size) {
    if (size > _rest.size()) {
      throw std::runtime_error("kafka::reader: cut off");
    }
    const view front = _rest.first(size);
    _rest = _rest.subspan(size);
    return front;
  }
  std::int64_t varint() {
    std::uint64_t z = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const std::uint64_t byte = take(1)[0];
      z |= (byte & 0x7F) << shift;
      if (byte < 0x80) {
        return static_cast<std::int64_t>(z >> 1) ^ -static_cast<std::int64_t>(z & 1);
      }
    }
    throw std::runtime_error("kafka::reader: varint too long");
  }
  field nullable() {
    const auto size = varint();
    if (size == -1) {
      return std::nullopt;
    }
    return text(take(static_cast<std::size_t>(size)));
  }
  std::int64_t integer(std::size_t size) {
    std::uint64_t value = 0;
    for (const auto byte : take(size)) {
      value = (value << 8) | byte;
    }
    const unsigned unused = 64 - 8 * static_cast<unsigned>(size);
    return static_cast<std::int64_t>(value << unused) >> unused;
  }

 private:
  view _rest;
};

/// Key, value and headers.
struct payload {
  field key;
  field value;
  std::vector<std::pair<std::string, field>> headers;

  bool operator==(const payload&) const = default;

  [[nodiscard]] bytes encode() const {
    bytes out;
    put_field(out, key);
    put_field(out, value);
    put_varint(out, static_cast<std::int64_t>(headers.size()));
    for (const auto& [k, v] : headers) {
      put_field(out, k);
      put_field(out, v);
    }
    return out;
  }
  static payload decode(view data) {
    reader in(data);
    payload p;
    p.key = in.nullable();
    p.value = in.nullable();
    for (auto n = in.varint(); n > 0; --n) {
      auto k = in.nullable();
      auto v = in.nullable();
      p.headers.emplace_back(k.value(), v);
    }
    if (!in.empty()) {
      throw std::runtime_error("kafka::payload: bytes follow");
    }
    return p;
  }
};

/// A payload that has only a value.
inline payload value(std::string v) { return {std::nullopt, std::move(v), {}}; }

/// One record as it lies in a batch.
struct record {
  std::int64_t offset_delta = 0;
  std::int64_t timestamp_delta = 0;
  payload content;

  bool operator==(const record&) const = default;
};

constexpr std::size_t header_size = 61;
constexpr std::int16_t append_time = 0x08;
constexpr std::int16_t control = 0x20;

/// A batch, each field settable, so that it can lie.
struct batch {
  std::int64_t base_offset = 0;
  std::int32_t leader_epoch = -1;
  std::int8_t magic = 2;
  std::int16_t attributes = 0;
  std::int64_t base_timestamp = 0;
  std::int64_t max_timestamp = 0;
  std::int64_t producer_id = -1;
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  std::vector<record> records;
  // Lies; empty means the truth.
  std::optional<std::int32_t> last_offset_delta = std::nullopt;
  std::optional<std::int32_t> record_count = std::nullopt;
  std::optional<std::int32_t> length = std::nullopt;
  std::optional<bytes> body = std::nullopt;  ///< Instead of the records.

  [[nodiscard]] bytes encode_records() const {
    bytes out;
    for (const auto& r : records) {
      bytes one;
      one.push_back(0);
      put_varint(one, r.timestamp_delta);
      put_varint(one, r.offset_delta);
      append(one, r.content.encode());
      put_varint(out, static_cast<std::int64_t>(one.size()));
      append(out, one);
    }
    return out;
  }

  [[nodiscard]] bytes encode() const {
    const bytes packed = body ? *body : encode_records();
    const auto last = records.empty() ? -1 : static_cast<std::int32_t>(records.back().offset_delta);
    bytes tail;
    put_int(tail, attributes, 2);
    put_int(tail, last_offset_delta.value_or(last), 4);
    put_int(tail, base_timestamp, 8);
    put_int(tail, max_timestamp, 8);
    put_int(tail, producer_id, 8);
    put_int(tail, producer_epoch, 2);
    put_int(tail, base_sequence, 4);
    put_int(tail, record_count.value_or(static_cast<std::int32_t>(records.size())), 4);
    append(tail, packed);
    bytes out;
    put_int(out, base_offset, 8);
    put_int(out, length.value_or(static_cast<std::int32_t>(tail.size() + 9)), 4);
    put_int(out, leader_epoch, 4);
    put_int(out, magic, 1);
    put_int(out, crc32c(tail), 4);
    append(out, tail);
    return out;
  }

  /// Reads a batch; one that is not compressed gets its records, any other its `body`. Throws if anything is amiss.
  static batch decode(view data) {
    reader in(data);
    batch b;
    b.base_offset = in.integer(8);
    if (static_cast<std::size_t>(in.integer(4)) != in.rest().size()) {
      throw std::runtime_error("kafka::batch: wrong length");
    }
    b.leader_epoch = static_cast<std::int32_t>(in.integer(4));
    b.magic = static_cast<std::int8_t>(in.integer(1));
    if (static_cast<std::uint32_t>(in.integer(4)) != crc32c(in.rest())) {
      throw std::runtime_error("kafka::batch: wrong CRC");
    }
    b.attributes = static_cast<std::int16_t>(in.integer(2));
    b.last_offset_delta = static_cast<std::int32_t>(in.integer(4));
    b.base_timestamp = in.integer(8);
    b.max_timestamp = in.integer(8);
    b.producer_id = in.integer(8);
    b.producer_epoch = static_cast<std::int16_t>(in.integer(2));
    b.base_sequence = static_cast<std::int32_t>(in.integer(4));
    b.record_count = static_cast<std::int32_t>(in.integer(4));
    if ((b.attributes & 7) != 0) {
      b.body = bytes(in.rest().begin(), in.rest().end());
    } else {
      b.records = decode_records(in.rest());
    }
    return b;
  }

  static std::vector<record> decode_records(view data) {
    std::vector<record> records;
    for (reader in(data); !in.empty();) {
      reader one(in.take(static_cast<std::size_t>(in.varint())));
      record r;
      one.take(1);
      r.timestamp_delta = one.varint();
      r.offset_delta = one.varint();
      r.content = payload::decode(one.rest());
      records.push_back(std::move(r));
    }
    return records;
  }

  /// Corrects the CRC of a batch that was tampered with.
  static void reseal(bytes& encoded) {
    const auto crc = crc32c(view(encoded).subspan(21));
    for (int i = 0; i < 4; ++i) {
      encoded[17 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    }
  }
};

/// A batch of values, one offset and one millisecond apart, from offset 100 and time 1,700,000,000,000.
inline batch values(const std::vector<std::string>& all) {
  batch b;
  b.base_offset = 100;
  b.base_timestamp = 1'700'000'000'000;
  for (const auto& v : all) {
    const auto i = static_cast<std::int64_t>(b.records.size());
    b.records.push_back({i, i, value(v)});
    b.max_timestamp = b.base_timestamp + i;
  }
  return b;
}

}  // namespace kafka
