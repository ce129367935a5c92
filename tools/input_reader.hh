// SPDX-License-Identifier: Apache-2.0
//
// The body of the thread that reads the input.
#pragma once

#include "batch_reader.hh"
#include "batcher.hh"
#include "failures.hh"
#include "input_stream.hh"
#include "line_reader.hh"
#include "record_reader.hh"
#include "traffic.hh"
#include "worker.hh"

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// Finds lines or Kafka's batches in the input and gives them to workers. They parse them. With several workers it
/// looks for partition and key of each, which belong to one worker.
class input_reader {
 public:
  struct settings {
    std::string name;  ///< For messages.
    char delimiter = '\n';
    bool uncommitted = false;
    bool partial_batch = false;
    std::size_t batch_size = 1000;
    run_progress begin;  ///< What an earlier run has done.
  };

  /// `columns` gets the header of CSV before any worker gets a row.
  input_reader(const settings& s, const record_reader::settings& shape, std::vector<std::string>& columns,
               input_stream& input, std::deque<worker>& workers, failures& failed, traffic& passed);

  /// Does not throw.
  void run() noexcept;
  /// Delivers what there is. On the reading thread.
  void flush() { _batches.flush(); }
  /// After `run`: what the user should know of the input.
  [[nodiscard]] const std::vector<std::string>& remarks() const noexcept { return _remarks; }

  /// Whether the header of CSV has been read.
  void set_on_columns(std::function<void()> on_columns) { _on_columns = std::move(on_columns); }

 private:
  void read_lines();
  void read_batches();
  void read_header(line_reader& lines);
  void add(std::string_view text, input_batch::part p);
  std::optional<std::size_t> route_of(std::string_view text);

  const settings _settings;
  const record_reader::settings& _shape;
  std::vector<std::string>& _columns;
  input_stream& _input;
  std::deque<worker>& _workers;
  failures& _failed;
  traffic& _passed;
  record_reader _records;  ///< For routes.
  bool _has_routes;
  batcher _batches;
  std::function<void()> _on_columns;
  std::vector<std::string> _remarks;
  std::uint64_t _line = 0;
  std::uint64_t _index;
  input_place _before;  ///< Behind what was added last.
};

}  // namespace tool
