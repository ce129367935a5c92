// SPDX-License-Identifier: Apache-2.0
#include "batch_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace tool {

namespace {

constexpr std::size_t header_size = 61;
constexpr std::size_t length_end = 12;  ///< Base offset and length come first, and the length is of what follows.

template <typename Int>
Int big_endian(const std::uint8_t* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    value = value << 8 | bytes[i];
  }
  return static_cast<Int>(value);
}

/// Reads at a place of a file. The number of bytes that there were.
std::size_t read_at(int file, std::uint64_t position, std::uint8_t* to, std::size_t size) {
  std::size_t got = 0;
  while (got < size) {
    const auto n = ::pread(file, to + got, size - got, static_cast<off_t>(position + got));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      throw failure(exit_code::bad_input, fmt::format("cannot read on: {}", std::strerror(errno)));
    }
    if (n == 0) {
      break;
    }
    got += static_cast<std::size_t>(n);
  }
  return got;
}

}  // namespace

/// What matters here of a batch's header.
struct batch_reader::header {
  explicit header(const std::uint8_t* bytes)
      : total_size(std::size_t{big_endian<std::uint32_t>(bytes + 8)} + length_end),
        magic(bytes[16]),
        attributes(big_endian<std::int16_t>(bytes + 21)),
        producer(big_endian<std::int64_t>(bytes + 43)),
        records(big_endian<std::int32_t>(bytes + 57)) {}

  [[nodiscard]] bool is_control() const noexcept { return (attributes & 1 << 5) != 0; }
  [[nodiscard]] bool is_transactional() const noexcept { return (attributes & 1 << 4) != 0; }
  [[nodiscard]] bool is_batch() const noexcept {
    return magic == 2 && total_size >= header_size && total_size <= max_batch && records >= 0;
  }

  std::size_t total_size;
  std::uint8_t magic;
  std::int16_t attributes;
  std::int64_t producer;
  std::int32_t records;
};

batch_reader::batch_reader(input_stream& input, bool uncommitted)
    : _input(input), _uncommitted(uncommitted), _batch(1U << 20) {}

std::optional<std::span<const std::uint8_t>> batch_reader::next() {
  for (;;) {
    _size = 0;
    if (!read(header_size)) {
      if (!_input.interrupted() && !is_padding()) {
        _cut_off = _size;
      }
      return std::nullopt;
    }
    const header h(_batch.data());
    if (!h.is_batch()) {
      if (is_padding()) {
        return std::nullopt;
      }
      throw failure(exit_code::bad_input,
                    h.magic < 2 ? fmt::format("the batch has version {}: only version 2 is read, which Kafka has written "
                                              "since 0.11, and no segment of Redpanda, which has other headers",
                                              h.magic)
                                : "there is no record batch of Kafka here");
    }
    if (!read(h.total_size)) {
      if (!_input.interrupted()) {
        _cut_off = _size;
      }
      return std::nullopt;
    }
    const auto position = _position;
    _position += h.total_size;
    if (is_wanted(h, position)) {
      _records = static_cast<std::uint32_t>(h.records);
      return std::span<const std::uint8_t>(_batch).first(h.total_size);
    }
  }
}

/// Reads until there are so many bytes of the batch. False if the input ends before.
bool batch_reader::read(std::size_t size) {
  if (_batch.size() < size) {
    _batch.resize(size);
  }
  while (_size < size) {
    const auto got = _input.read(reinterpret_cast<char*>(_batch.data()) + _size, size - _size);
    if (got == 0) {
      return false;
    }
    _size += got;
  }
  return true;
}

/// Whether the rest of the input is zeros. Brokers make segments larger than their content.
bool batch_reader::is_padding() {
  const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  for (;;) {
    if (!std::all_of(_batch.begin(), _batch.begin() + static_cast<std::ptrdiff_t>(_size), is_zero)) {
      return false;
    }
    _size = 0;
    if (!read(_batch.size()) && _size == 0) {
      return true;
    }
  }
}

bool batch_reader::is_wanted(const header& h, std::uint64_t position) {
  if (h.is_control()) {
    return false;
  }
  if (_uncommitted || !h.is_transactional()) {
    return true;
  }
  if (!_scanned) {
    find_aborted();
    _scanned = true;
  }
  if (_aborted.contains(position)) {
    _left_out += static_cast<std::uint64_t>(h.records);
    return false;
  }
  return true;
}

/// Looks at all headers. Whether a transaction was aborted stands behind its batches.
void batch_reader::find_aborted() {
  const int file = _input.seekable();
  if (file < 0) {
    throw failure(exit_code::bad_input,
                  "the batch belongs to a transaction, and whether that was aborted stands further on: give a file "
                  "that is not compressed, or --uncommitted for the records of all transactions");
  }
  std::unordered_map<std::int64_t, std::vector<std::uint64_t>> open;
  std::array<std::uint8_t, header_size + 32> bytes{};
  for (std::uint64_t at = 0;;) {
    const auto got = read_at(file, at, bytes.data(), bytes.size());
    if (got < header_size) {
      break;
    }
    const header h(bytes.data());
    if (!h.is_batch() || at + h.total_size > *_input.total()) {
      break;
    }
    if (h.is_control() && h.is_transactional()) {
      // A record whose key is a version and a type, and type 0 aborts. Before the key come five numbers of a byte each:
      // the record's length, attributes, two differences, the key's length. All are small in a marker.
      const auto type = got >= header_size + 9 ? big_endian<std::int16_t>(bytes.data() + header_size + 7) : std::int16_t{1};
      if (const auto found = open.find(h.producer); found != open.end()) {
        if (type == 0) {
          _aborted.insert(found->second.begin(), found->second.end());
        }
        open.erase(found);
      }
    } else if (h.is_transactional()) {
      open[h.producer].push_back(at);
    }
    at += h.total_size;
  }
  for (const auto& [producer, batches] : open) {
    _aborted.insert(batches.begin(), batches.end());
  }
}

void batch_reader::skip_to(std::uint64_t position) {
  _input.skip(position);
  _position = position;
}

std::string batch_reader::remarks() const {
  std::string text;
  if (_left_out > 0) {
    text += fmt::format("{} records were left out: their transactions were aborted or have not ended (--uncommitted takes "
                        "them)\n",
                        _left_out);
  }
  if (_cut_off > 0) {
    text += fmt::format("the last batch is cut off: its {} bytes were left out\n", _cut_off);
  }
  return text;
}

}  // namespace tool
