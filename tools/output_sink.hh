// SPDX-License-Identifier: Apache-2.0
//
// A guest's output on its way to the output queue.
#pragma once

#include "exit_code.hh"
#include "guest_input.hh"
#include "output_files.hh"
#include "output_queue.hh"
#include "record_writer.hh"
#include "report.hh"

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// The sink of one operation. Used by one thread.
class output_sink {
 public:
  struct target {
    const record_writer& writer;
    const record_writer& letter_writer;
    const output_files& files;
    output_queue& output;
    /// Writes Kafka's batches with this compression instead of text.
    std::optional<wasm_compression> batches;
    bool input_is_json = false;  ///< Whether the values of the input are known to be JSON.
  };

  /// Calls `before_block` before the output of a block is submitted.
  output_sink(const target& to, statistics& counted, const guest_input& records, std::function<void()> before_block)
      : _to(to), _counted(counted), _records(records), _before_block(std::move(before_block)) {}

  /// Called while the engine is polled. An exception fails the transform.
  wasm_callback_result operator()(wasmengine::parsed_block block, wasmengine::output_call call);

  /// Whether it has finished with all blocks that it got: the engine's progress counts them.
  [[nodiscard]] bool is_settled() const noexcept { return _settled; }
  /// Why the sink failed and at which input record of which batch.
  [[nodiscard]] const std::optional<failure>& error() const noexcept { return _error; }
  [[nodiscard]] std::int64_t offset() const noexcept { return _offset; }
  [[nodiscard]] std::size_t index() const noexcept { return _index; }
  [[nodiscard]] std::size_t batch() const noexcept { return _batch; }

 private:
  void reserve(wasmengine::parsed_block block, std::vector<std::string>& files) const;
  void write(std::size_t batch, const wasm_parsed_record& record, std::vector<std::string>& files);
  void pack(wasmengine::parsed_block block, std::vector<std::string>& files);

  const target _to;
  statistics& _counted;
  const guest_input& _records;
  std::function<void()> _before_block;
  bool _settled = true;
  std::optional<failure> _error;
  std::int64_t _offset = 0;
  std::size_t _index = 0;
  std::size_t _batch = 0;
};

}  // namespace tool
