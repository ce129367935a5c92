// SPDX-License-Identifier: Apache-2.0
//
// Records become batches and batches go to workers.
#pragma once

#include "record.hh"

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tool {

/// A batch on its way to a worker. It is compressed there.
struct input_batch {
  /// Where a record came from.
  struct origin {
    std::int64_t offset;
    std::uint64_t line;
    std::size_t size;  ///< Bytes of key, value and headers.
  };
  wasmengine::batch_builder records;
  std::vector<origin> origins;  ///< By index in the batch; offsets and lines ascend.
  std::optional<std::int32_t> partition;
};

/// Collects records until a batch is full. Used by one thread.
///
/// Records of a partition always go to the same worker. So do records with the same key that have no partition. Records
/// without both go to all workers in turn, a batch each.
class batcher {
 public:
  /// Gives a batch to a worker, given by its number.
  using deliver_function = std::function<void(std::size_t worker, input_batch)>;

  struct settings {
    std::size_t workers = 1;
    std::size_t batch_size = 1000;
    wasm_compression compression = WASM_COMPRESSION_NONE;
  };

  batcher(const settings& s, deliver_function deliver);

  /// Adds the record of input line `line`. Throws `failure` if no batch can hold it.
  void add(const record& r, std::uint64_t line);

  /// Delivers what there is, full or not.
  void flush();

 private:
  struct lane {
    std::size_t worker = 0;
    input_batch batch;
    std::size_t bytes = 0;
  };

  lane& lane_of(const record& r);
  void deliver(lane& from);

  settings _settings;
  deliver_function _deliver;
  std::vector<lane> _by_worker;  ///< Records without a partition.
  std::unordered_map<std::int32_t, lane> _by_partition;
  std::size_t _turn = 0;   ///< The worker for records without partition and key.
  std::size_t _bytes = 0;  ///< In all lanes.
  std::int64_t _count = 0;
};

}  // namespace tool
