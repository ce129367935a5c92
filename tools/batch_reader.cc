// SPDX-License-Identifier: Apache-2.0
#include "batch_reader.hh"

#include "exit_code.hh"

#include <boost/crc.hpp>
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
      : total_size(std::uint64_t{big_endian<std::uint32_t>(bytes + 8)} + length_end),
        magic(bytes[16]),
        attributes(big_endian<std::int16_t>(bytes + 21)),
        producer(big_endian<std::int64_t>(bytes + 43)),
        records(big_endian<std::int32_t>(bytes + 57)) {}

  [[nodiscard]] bool is_control() const noexcept { return (attributes & 1 << 5) != 0; }
  [[nodiscard]] bool is_transactional() const noexcept { return (attributes & 1 << 4) != 0; }
  [[nodiscard]] bool is_batch() const noexcept {
    return magic == 2 && total_size >= header_size && total_size <= max_batch && records >= 0;
  }

  std::uint64_t total_size;
  std::uint8_t magic;
  std::int16_t attributes;
  std::int64_t producer;
  std::int32_t records;
};

namespace {

/// Whether the whole batch has the checksum, CRC-32C, that its header says.
bool is_sound(std::span<const std::uint8_t> batch) {
  constexpr std::size_t crc_at = 17;
  constexpr std::size_t crc_end = 21;
  boost::crc_optimal<32, 0x1edc6f41, 0xffffffff, 0xffffffff, true, true> crc;
  crc.process_bytes(batch.data() + crc_end, batch.size() - crc_end);
  return big_endian<std::uint32_t>(batch.data() + crc_at) == crc.checksum();
}

}  // namespace

batch_reader::batch_reader(input_stream& input, bool uncommitted, bool partial)
    : _input(input), _uncommitted(uncommitted), _partial(partial), _batch(1U << 20) {}

std::optional<std::span<const std::uint8_t>> batch_reader::next() {
  for (;;) {
    _size = 0;
    if (!read(header_size)) {
      if (!_input.interrupted() && !is_padding()) {
        end_within(header_size);
      }
      return std::nullopt;
    }
    const header h(_batch.data());
    if (!h.is_batch()) {
      if (is_padding()) {
        return std::nullopt;
      }
      refuse(h.magic < 2 ? fmt::format("the batch has version {}: only version 2 is read, which Kafka has written "
                                       "since 0.11, and no segment of Redpanda, which has other headers",
                                       h.magic)
                         : "there is no record batch of Kafka here");
    }
    if (!read(h.total_size)) {
      if (!_input.interrupted()) {
        end_within(h.total_size);
      }
      return std::nullopt;
    }
    _begin = _position;
    if (is_wanted(h)) {
      _position += h.total_size;
      _records = static_cast<std::uint32_t>(h.records);
      return std::span<const std::uint8_t>(_batch).first(h.total_size);
    }
    _position += h.total_size;
  }
}

/// Throws with the place of the batch that was read.
void batch_reader::refuse(const std::string& why) const {
  throw failure(exit_code::bad_input, fmt::format("at byte {}: {}", _position, why));
}

/// The input ends within a batch, or a damaged length says so.
void batch_reader::end_within(std::uint64_t wanted) {
  const auto content = std::span<const std::uint8_t>(_batch).first(_size);
  if (has_whole_batch(content)) {
    refuse(fmt::format("the batch's length is damaged: it says {} bytes, the input has {} more, and whole batches begin within "
                       "them",
                       wanted, _size));
  }
  if (!_partial) {
    refuse(fmt::format("the input ends within a batch: {} of its {}{} bytes are there. A part of a fetch or of a segment may end "
                       "so: --ignore-partial-batch leaves it out",
                       _size, wanted == header_size ? "at least " : "", wanted));
  }
  _cut_off = _size;
}

/// Whether a whole batch begins somewhere behind the first byte, or the one at the first byte is whole apart from its
/// length.
bool batch_reader::has_whole_batch(std::span<const std::uint8_t> content) {
  if (content.size() >= header_size && is_sound(content)) {
    return true;
  }
  // Content that looks like headers everywhere must not take forever.
  std::uint64_t budget = 4 * std::uint64_t{content.size()};
  for (std::size_t at = 1; at + header_size <= content.size(); ++at) {
    const header h(content.data() + at);
    if (!h.is_batch() || at + h.total_size > content.size() || h.total_size > budget) {
      continue;
    }
    if (is_sound(content.subspan(at, h.total_size))) {
      return true;
    }
    budget -= h.total_size;
  }
  return false;
}

/// Reads until there are so many bytes of the batch. False if the input ends before.
bool batch_reader::read(std::size_t size) {
  while (_size < size) {
    if (_size == _batch.size()) {
      _batch.resize(std::min(2 * _size, size));  // a length that is damaged takes no memory
    }
    const auto got = _input.read(reinterpret_cast<char*>(_batch.data()) + _size, std::min(size, _batch.size()) - _size);
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

bool batch_reader::is_wanted(const header& h) {
  if (!h.is_control() && (_uncommitted || !h.is_transactional())) {
    return true;
  }
  // Nobody else looks at what is left out.
  if (!is_sound(std::span<const std::uint8_t>(_batch).first(h.total_size))) {
    refuse("the batch's checksum is wrong (batch-crc)");
  }
  if (h.is_control()) {
    return false;
  }
  if (!_scanned) {
    find_aborted();
    _scanned = true;
  }
  if (_aborted.contains(_position)) {
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

std::vector<std::string> batch_reader::remarks() const {
  std::vector<std::string> all;
  if (_left_out > 0) {
    all.push_back(fmt::format("{} records were left out: their transactions were aborted or have not ended (--uncommitted takes "
                              "them)",
                              _left_out));
  }
  if (_cut_off > 0) {
    all.push_back(fmt::format("the last batch is cut off: its {} bytes were left out", _cut_off));
  }
  return all;
}

}  // namespace tool
