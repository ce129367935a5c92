// SPDX-License-Identifier: Apache-2.0
//
// Lines of the input on their way to workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A place in the input: what a checkpoint needs to go on there.
struct input_place {
  std::uint64_t position = 0;  ///< Bytes of the decompressed input.
  std::uint64_t line = 0;      ///< Lines of it.
  std::uint64_t records = 0;   ///< Records of it.
};

/// Some of the input for a worker, which makes records of it.
struct input_batch {
  /// A line of text, or one of Kafka's batches.
  struct part {
    std::size_t begin;       ///< In `text`.
    std::size_t size;
    std::uint64_t line;      ///< Number of the line. Of a batch that of its first record. From 1.
    std::uint64_t index;     ///< Of the first record among all of the input. From 0.
    std::uint32_t records;   ///< 1 for a line.
    input_place before;      ///< Behind what comes before it.
    std::uint64_t position = 0;  ///< Of one of Kafka's batches: where it begins, in bytes of the decompressed input.
  };
  std::string text;  ///< The parts one behind the other, and behind them what `line_reader::padding` says.
  std::vector<part> parts;

  [[nodiscard]] std::string_view text_of(const part& p) const noexcept {
    return std::string_view(text).substr(p.begin, p.size);
  }
};

/// Collects lines until a batch is full. Used by one thread.
class batcher {
 public:
  /// Gives a batch to a worker, given by its number.
  using deliver_function = std::function<void(std::size_t worker, input_batch)>;

  struct settings {
    std::size_t workers = 1;
    std::size_t batch_size = 1000;  ///< Records.
  };

  batcher(const settings& s, deliver_function deliver);

  /// Adds a part: its text, and all but `begin` and `size` of `p`. Parts with the same `route` go to the same worker.
  /// Those without one go to all workers in turn, a batch each.
  void add(std::string_view text, input_batch::part p, std::optional<std::size_t> route);

  /// Delivers what there is, full or not.
  void flush();

 private:
  struct lane {
    input_batch batch;
    std::size_t records = 0;
  };

  void deliver(std::size_t worker);

  settings _settings;
  deliver_function _deliver;
  std::vector<lane> _lanes;  ///< By worker.
  std::size_t _turn = 0;     ///< The worker for what has no route.
  std::size_t _usual_bytes = 0;  ///< Of the last batch, as its parts.
  std::size_t _usual_parts = 0;
};

}  // namespace tool
