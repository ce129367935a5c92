// SPDX-License-Identifier: Apache-2.0
//
// What a guest gets in one call, and where each of its records came from.
#pragma once

#include "batcher.hh"
#include "record.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tool {

/// Records as they are, records that are packed into batches, or batches of the input. Used by one thread. Its memory
/// is used again.
class guest_input {
 public:
  /// Where a record came from.
  struct origin {
    std::int64_t offset;
    std::uint64_t line;
    std::uint64_t index;  ///< Among all records of the input.
    std::optional<std::int32_t> partition;
    std::size_t in_batch;    ///< Index in the batch that was collected.
    std::size_t batch_size;  ///< Of that.
    std::uint64_t first_line;  ///< Of that.
    std::uint64_t last_line;
    std::uint64_t position;  ///< As in `input_batch::part`.
  };
  /// `time` is that of records without one, in milliseconds since 1970. None: when they are read.
  explicit guest_input(std::optional<std::int64_t> time) : _time(time) {}
  /// Begins anew.
  void clear();

  /// Adds a record, which is borrowed. `all` is the batch that `part` is of.
  void add(const record& r, const input_batch& all, std::size_t part);
  /// Adds one of Kafka's batches, which is borrowed.
  void add_raw(const input_batch& all, std::size_t part);
  /// A record that no batch can have, and why.
  struct refused {
    std::uint64_t line;
    std::string why;
  };
  /// Packs the records into batches.
  [[nodiscard]] std::optional<refused> pack(wasm_compression compression);

  [[nodiscard]] bool empty() const noexcept { return records() == 0; }
  [[nodiscard]] std::size_t records() const noexcept { return _records; }
  [[nodiscard]] std::size_t bytes() const noexcept { return _bytes; }
  /// The index of the first record that the guest gets. Those before it are done.
  [[nodiscard]] std::uint32_t first_record() const noexcept { return _first_record; }
  void set_first_record(std::uint32_t index) noexcept { _first_record = index; }

  /// Begins the operation.
  template <typename Sink>
  [[nodiscard]] wasmengine::result<wasmengine::future> transform(wasmengine::engine& engine, Sink& sink) {
    if (_batches.empty()) {
      return engine.transform_records(_list.all(), sink, _first_record);
    }
    return engine.transform_many(_batches, sink, _first_record);
  }

  /// Whether records are lines, and not of Kafka's batches.
  [[nodiscard]] bool has_lines() const noexcept { return _groups.empty() || !_groups.front().raw; }
  /// Batches of the call. Records that are not packed are one.
  [[nodiscard]] std::size_t batches() const noexcept { return _groups.size(); }
  [[nodiscard]] std::size_t records_of(std::size_t batch) const noexcept { return _groups[batch].records; }
  /// Bytes of keys, values and headers of a batch's first records, or of Kafka's batch.
  [[nodiscard]] std::size_t bytes_of(std::size_t batch, std::size_t records) const;
  /// The record with this index in this batch. Of Kafka's batches the offset must be known.
  [[nodiscard]] origin origin_of(std::size_t batch, std::size_t index, std::int64_t offset = 0) const;
  /// The value of that record. None also if it is in one of Kafka's batches.
  [[nodiscard]] wasmengine::field value_of(std::size_t batch, std::size_t index) const;
  /// The number of records up to this one.
  [[nodiscard]] std::size_t records_before(std::size_t batch, std::size_t index) const noexcept;

 private:
  struct item {
    origin from;
    std::size_t size;
    wasmengine::field value;  ///< Borrowed, as the record is.
  };
  struct group {
    std::size_t first;    ///< Index in `_items`. Of Kafka's batches too, which have one item each.
    std::size_t records;
    bool raw;
  };

  std::vector<item> _items;
  std::vector<group> _groups;
  wasmengine::record_list _list;
  std::vector<wasmengine::batch_builder> _builders;
  std::vector<std::span<const std::uint8_t>> _batches;
  std::size_t _records = 0;
  std::size_t _bytes = 0;
  std::uint32_t _first_record = 0;
  const std::optional<std::int64_t> _time;
  std::int64_t _now = 0;  ///< The time of records that have none.
};

}  // namespace tool
