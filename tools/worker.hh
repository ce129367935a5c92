// SPDX-License-Identifier: Apache-2.0
//
// A thread with an event loop and an engine.
#pragma once

#include "batcher.hh"
#include "channel.hh"
#include "error_limit.hh"
#include "event_loop.hh"
#include "exit_code.hh"
#include "output_queue.hh"
#include "record_writer.hh"
#include "report.hh"
#include "task.hh"
#include "traffic.hh"

#include <wasm_engine/wasm_engine.hh>

#include <atomic>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace tool {

/// The failure of a run. Of several failures the one at the first line of input counts. Any thread.
class failures {
 public:
  /// `line` 0 is before all input. `why` is the library's error if there is one.
  void add(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why = {});

  /// The line of the first failure. The greatest number if there is none.
  [[nodiscard]] std::uint64_t first_line() const noexcept { return _first_line; }
  [[nodiscard]] bool any() const noexcept { return first_line() != none; }
  [[nodiscard]] std::size_t count() const;
  [[nodiscard]] std::optional<failure> first() const;
  /// The library's error of that failure.
  [[nodiscard]] std::optional<wasmengine::error> first_error() const;

 private:
  static constexpr auto none = std::numeric_limits<std::uint64_t>::max();
  mutable std::mutex _mutex;
  std::atomic<std::uint64_t> _first_line = none;
  std::optional<failure> _first;
  std::optional<wasmengine::error> _first_error;
  std::size_t _count = 0;
};

/// What the workers of a run share.
struct shared {
  const wasmengine::runtime& runtime;
  const wasmengine::factory& factory;
  wasm_on_error on_error;
  const error_limit& max_errors;
  const record_writer& writer;
  const record_writer& letter_writer;
  const output_files& files;
  output_queue& output;
  failures& failed;
  std::string input_name;            ///< For messages.
  std::function<void()> on_failure;  ///< Any thread.
  bool profile = false;              ///< Whether guests are profiled.
  traffic passed = {};
};

/// Takes batches from a channel and sends the guest's output to the output queue. Small batches that wait together go
/// to the guest in one call.
class worker {
 public:
  worker(shared& s, std::uint32_t shard) : _shared(s), _shard(shard) {}
  worker(worker&&) = delete;

  /// Called on another thread than `run`.
  [[nodiscard]] channel<input_batch>& input() noexcept { return _input; }

  /// The body of the worker's thread. Does not throw.
  void run() noexcept;
  /// After `run`.
  [[nodiscard]] const statistics& counted() const noexcept { return _counted; }
  /// After `run`: the guest's profile as JSON if there is one.
  [[nodiscard]] const std::string& profile() const noexcept { return _profile; }
  /// After `run`: why the last record was lost if one was.
  [[nodiscard]] const std::optional<wasmengine::error>& last_loss() const noexcept { return _last_loss; }

 private:
  class sink;

  task serve();
  task start(wasmengine::engine& engine);
  void note_losses(const wasmengine::engine& engine);
  void note_last_loss(const wasmengine::engine& engine);
  void note_traffic();
  void check_losses(std::uint64_t line);
  task transform(wasmengine::engine& engine, std::deque<input_batch>& waiting);
  void count(const input_batch& batch, std::size_t records);
  void fail(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why = {});
  void fail_transform(const input_batch& batch, const sink& output, const wasmengine::error& e);

  shared& _shared;
  const std::uint32_t _shard;
  event_loop _loop;
  channel<input_batch> _input{_loop, 4};
  statistics _counted;
  struct {
    std::uint64_t records_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t records_out = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t lost = 0;
  } _told;  ///< The part that has been added to the traffic.
  std::string _profile;
  std::optional<wasmengine::error> _last_loss;
};

}  // namespace tool
