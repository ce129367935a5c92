// SPDX-License-Identifier: Apache-2.0
//
// An uncompressed record batch taken apart, for contenders that need single records, and records in the form in which
// the driver compares them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace bench {

using bytes = std::vector<std::uint8_t>;
using view = std::span<const std::uint8_t>;

[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

inline bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    fail("cannot read " + path);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Takes a zigzag varint off the front of what lies from `at` to `end`. False: it does not end there.
inline bool take_varint(const std::uint8_t*& at, const std::uint8_t* end, std::int64_t& value) {
  std::uint64_t z = 0;
  for (unsigned shift = 0; at != end && shift < 70; shift += 7) {
    const std::uint64_t byte = *at++;
    z |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      value = static_cast<std::int64_t>(z >> 1) ^ -static_cast<std::int64_t>(z & 1);
      return true;
    }
  }
  return false;
}

inline std::size_t varint_size(std::int64_t value) {
  auto z = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  std::size_t size = 1;
  for (; z >= 0x80; z >>= 7) {
    ++size;
  }
  return size;
}

inline void put_varint(bytes& out, std::int64_t value) {
  auto z = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  for (; z >= 0x80; z >>= 7) {
    out.push_back(static_cast<std::uint8_t>(z | 0x80));
  }
  out.push_back(static_cast<std::uint8_t>(z));
}

/// Skips a length and as many bytes; −1 is null. False: they are not there.
inline bool take_sized(const std::uint8_t*& at, const std::uint8_t* end, view& out) {
  std::int64_t size = 0;
  if (!take_varint(at, end, size) || size < -1 || size > end - at) {
    return false;
  }
  out = size < 0 ? view() : view(at, static_cast<std::size_t>(size));
  at += out.size();
  return true;
}

/// Whether these bytes are the payload of one record: key, value, headers, and nothing behind.
inline bool is_payload(view payload) {
  const std::uint8_t* at = payload.data();
  const std::uint8_t* const end = at + payload.size();
  view part;
  std::int64_t headers = 0;
  if (!take_sized(at, end, part) || !take_sized(at, end, part) || !take_varint(at, end, headers)) {
    return false;
  }
  for (; headers > 0; --headers) {
    if (!take_sized(at, end, part) || !take_sized(at, end, part)) {
      return false;
    }
  }
  return at == end;
}

/// A record of a batch; it points into the batch.
struct record {
  std::int64_t timestamp;  ///< Milliseconds since 1970.
  std::int64_t offset;
  std::uint8_t attributes;
  view payload;  ///< Key, value and headers as they lie there.
  view before;   ///< Of the payload: the key with its length.
  view value;
  view behind;   ///< Of the payload: the headers with their count.

  /// Bytes of this record's payload with another value.
  [[nodiscard]] std::size_t payload_size(std::size_t value_size) const {
    return before.size() + varint_size(static_cast<std::int64_t>(value_size)) + value_size + behind.size();
  }
};

/// A batch's header, as far as guests are told of it, and its body.
struct batch {
  std::int64_t base_offset, base_timestamp, max_timestamp, producer_id;
  std::int32_t leader_epoch, last_offset_delta, base_sequence, record_count;
  std::int16_t attributes, producer_epoch;
  view body;
};

template <typename T>
T big_endian(view data, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = value << 8 | data[at + i];
  }
  return static_cast<T>(value);
}

/// Reads the header. The CRC is not looked at.
inline batch read_header(view data) {
  if (data.size() < 61) {
    fail("the batch is cut off");
  }
  batch b{};
  b.base_offset = big_endian<std::int64_t>(data, 0);
  b.leader_epoch = big_endian<std::int32_t>(data, 12);
  b.attributes = big_endian<std::int16_t>(data, 21);
  b.last_offset_delta = big_endian<std::int32_t>(data, 23);
  b.base_timestamp = big_endian<std::int64_t>(data, 27);
  b.max_timestamp = big_endian<std::int64_t>(data, 35);
  b.producer_id = big_endian<std::int64_t>(data, 43);
  b.producer_epoch = big_endian<std::int16_t>(data, 51);
  b.base_sequence = big_endian<std::int32_t>(data, 53);
  b.record_count = big_endian<std::int32_t>(data, 57);
  b.body = data.subspan(61);
  if ((b.attributes & 7) != 0) {
    fail("the batch is compressed");
  }
  return b;
}

/// The record at `at`, but for the parts of its payload; moves on behind it. False: it is malformed.
inline bool take_record(const batch& b, const std::uint8_t*& at, const std::uint8_t* end, record& out) {
  std::int64_t size = 0;
  if (!take_varint(at, end, size) || size < 1 || size > end - at) {
    return false;
  }
  const std::uint8_t* const record_end = at + size;
  out.attributes = *at++;
  std::int64_t timestamp = 0;
  std::int64_t offset = 0;
  if (!take_varint(at, record_end, timestamp) || !take_varint(at, record_end, offset)) {
    return false;
  }
  out.timestamp = b.base_timestamp + timestamp;
  out.offset = b.base_offset + offset;
  out.payload = view(at, record_end);
  at = record_end;
  return true;
}

/// All records with the parts of their payloads.
inline std::vector<record> read_records(const batch& b) {
  std::vector<record> records;
  const std::uint8_t* at = b.body.data();
  const std::uint8_t* const end = at + b.body.size();
  while (at != end) {
    record r{};
    if (!take_record(b, at, end, r)) {
      fail("a record is malformed");
    }
    const std::uint8_t* in = r.payload.data();
    const std::uint8_t* const payload_end = in + r.payload.size();
    view key;
    if (!take_sized(in, payload_end, key)) {
      fail("a key is malformed");
    }
    r.before = view(r.payload.data(), in);
    if (!take_sized(in, payload_end, r.value)) {
      fail("a value is malformed");
    }
    r.behind = view(in, payload_end);
    records.push_back(r);
  }
  if (records.size() != static_cast<std::size_t>(b.record_count)) {
    fail("the batch has another number of records than it says");
  }
  return records;
}

/// Output in the form in which the driver compares it: for each record the index of its topic, the payload's size, both
/// as 32 bits, little-endian, and the payload.
class canonical {
 public:
  void add(std::uint32_t topic, view payload) {
    put(topic);
    put(static_cast<std::uint32_t>(payload.size()));
    _bytes.insert(_bytes.end(), payload.begin(), payload.end());
  }
  /// The input record with another value.
  void add(std::uint32_t topic, const record& r, view value) {
    bytes payload(r.before.begin(), r.before.end());
    put_varint(payload, static_cast<std::int64_t>(value.size()));
    payload.insert(payload.end(), value.begin(), value.end());
    payload.insert(payload.end(), r.behind.begin(), r.behind.end());
    add(topic, payload);
  }
  void write(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(_bytes.data()), static_cast<std::streamsize>(_bytes.size()));
    if (!out.flush()) {
      fail("cannot write " + path);
    }
  }

 private:
  void put(std::uint32_t value) {
    for (int i = 0; i < 4; ++i) {
      _bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
  }
  bytes _bytes;
};

}  // namespace bench
