// SPDX-License-Identifier: Apache-2.0
//
// Kafka's record batches, one behind the other: a segment of a log or the records of a fetch.
#pragma once

#include "input_stream.hh"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tool {

/// Reads batches of version 2. Leaves out control batches and, unless `uncommitted`, those of transactions that were
/// aborted or have not ended. Used by one thread.
class batch_reader {
 public:
  static constexpr std::size_t max_batch = 256U << 20;

  /// `partial`: the input may end within a batch, which is left out.
  batch_reader(input_stream& input, bool uncommitted, bool partial);

  /// The next batch. Valid until the next call. None at the end. Throws `failure`.
  [[nodiscard]] std::optional<std::span<const std::uint8_t>> next();
  /// Of the batch that `next` gave.
  [[nodiscard]] std::uint32_t records() const noexcept { return _records; }
  /// Where the batch that `next` gave begins and ends in the decompressed input.
  [[nodiscard]] std::uint64_t begin_position() const noexcept { return _begin; }
  [[nodiscard]] std::uint64_t end_position() const noexcept { return _position; }

  /// Goes on from a place that `end_position` was at. Throws `failure`.
  void skip_to(std::uint64_t position);

  /// What the user should know about the input at its end.
  [[nodiscard]] std::vector<std::string> remarks() const;

 private:
  struct header;
  [[noreturn]] void refuse(const std::string& why) const;
  void end_within(std::uint64_t wanted);
  static bool has_whole_batch(std::span<const std::uint8_t> content);
  bool read(std::size_t size);
  bool is_padding();
  bool is_wanted(const header& h);
  void find_aborted();

  input_stream& _input;
  const bool _uncommitted;
  const bool _partial;
  std::vector<std::uint8_t> _batch;
  std::size_t _size = 0;  ///< Bytes of `_batch` that were read.
  std::uint64_t _begin = 0;
  std::uint64_t _position = 0;
  std::uint32_t _records = 0;
  bool _scanned = false;
  std::unordered_set<std::uint64_t> _aborted;  ///< Positions of batches whose transaction was aborted or is open.
  std::uint64_t _cut_off = 0;
  std::uint64_t _left_out = 0;
};

}  // namespace tool
