// SPDX-License-Identifier: Apache-2.0
//
// Records that the consumer gave and the guest has not got yet.
#pragma once

#include "kafka.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace transformd {

/// Borrows the records from librdkafka: nothing is copied.
class input_buffer {
 public:
  /// A record. `event` owns `message`.
  struct item {
    kafka_event event;
    const rd_kafka_message_t* message;
  };

  /// Enough for the guest.
  [[nodiscard]] bool full() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return _items.empty(); }

  /// `message` is one of `event`. Whether it is of another partition than the record before.
  bool add(kafka_event event, const rd_kafka_message_t& message);
  void clear() noexcept;

  /// Puts the records of each partition side by side, in their order.
  void sort();
  /// The records of the partition of record `first`, which begins one, after `sort`.
  [[nodiscard]] std::span<const item> partition(std::size_t first) const;
  [[nodiscard]] std::size_t size() const noexcept { return _items.size(); }

 private:
  std::vector<item> _items;
  std::size_t _bytes = 0;
};

/// Adds a record that is borrowed.
void add_record(wasmengine::record_list& to, const rd_kafka_message_t& message);

[[nodiscard]] partition_name partition_of(const rd_kafka_message_t& message);

}  // namespace transformd
