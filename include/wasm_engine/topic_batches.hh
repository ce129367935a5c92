// SPDX-License-Identifier: Apache-2.0
//
// A transform's output as batches: for hosts that append batches to the logs of topics.
#pragma once

#include "batch.hh"
#include "engine.hh"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace wasmengine {

/// Packs the blocks of a sink into batches, topic by topic. `emit(std::uint32_t topic, std::span<const std::uint8_t>
/// batch)` gets each batch while the call lasts. The batches of a topic have its records in their order. Each begins at
/// `config.base_offset`, which the log replaces. A record has the timestamp of its input.
///
/// A batch ends when the next record would exceed `config.max_bytes` or `config.max_records` and with `flush`. A host
/// calls `flush` when it wants to have what there is: at the end of an operation at the latest.
///
/// An exception of `emit` leaves the batch where it is. It is emitted again by the next call.
template <std::invocable<std::uint32_t, std::span<const std::uint8_t>> E>
class topic_batches {
 public:
  topic_batches(const batch_config& config, E emit) : _config(config), _emit(std::move(emit)) {}

  /// Adds the records of a block. After an error the records before the one that failed are added. `added` says how
  /// many of this block.
  result<void> add(output_block block) {
    _added = 0;
    for (const auto& r : block) {
      if (auto done = add(output_record(r)); !done) {
        return done;
      }
      ++_added;
    }
    return {};
  }

  /// Adds a record. `WASM_STATUS_BATCH_TOO_LARGE` if no batch can have it: it is left out and the host decides.
  result<void> add(const output_record& r) {
    if (r.topic() >= _topics.size()) {
      _topics.resize(r.topic() + std::size_t{1});
    }
    open& to = _topics[r.topic()];
    if (!to.builder) {
      auto made = batch_builder::create(_config);
      if (!made) {
        return made.err();
      }
      to.builder.emplace(std::move(*made));
    }
    auto done = to.builder->add_encoded(r.input_timestamp(), r.payload());
    if (!done && done.err().status() == WASM_STATUS_BATCH_FULL) {
      if (auto sent = emit(r.topic(), to); !sent) {
        return sent;
      }
      done = to.builder->add_encoded(r.input_timestamp(), r.payload());
    }
    if (done) {
      ++to.records;
    }
    return done;
  }

  /// Emits the batches that have records.
  result<void> flush() {
    for (std::size_t topic = 0; topic < _topics.size(); ++topic) {
      if (_topics[topic].records > 0) {
        if (auto sent = emit(static_cast<std::uint32_t>(topic), _topics[topic]); !sent) {
          return sent;
        }
      }
    }
    return {};
  }

  /// Records of the latest block that were added.
  [[nodiscard]] std::size_t added() const noexcept { return _added; }

 private:
  struct open {
    std::optional<batch_builder> builder;
    std::size_t records = 0;
  };

  result<void> emit(std::uint32_t topic, open& from) {
    auto batch = from.builder->finish();
    if (!batch) {
      return batch.err();
    }
    _emit(topic, *batch);
    from.records = 0;
    return from.builder->reset(_config);
  }

  batch_config _config;
  E _emit;
  std::vector<open> _topics;  ///< By index. A transform has few.
  std::size_t _added = 0;
};

}  // namespace wasmengine
