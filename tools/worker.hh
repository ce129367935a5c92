// SPDX-License-Identifier: Apache-2.0
//
// A thread with an event loop and an engine.
#pragma once

#include "batcher.hh"
#include "channel.hh"
#include "error_limit.hh"
#include "event_loop.hh"
#include "failures.hh"
#include "guest_input.hh"
#include "output_queue.hh"
#include "output_sink.hh"
#include "record_reader.hh"
#include "record_writer.hh"
#include "report.hh"
#include "task.hh"
#include "traffic.hh"

#include <wasm_engine/wasm_engine.hh>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

namespace tool {

/// What the workers of a run share.
struct shared {
  const wasmengine::runtime& runtime;
  const wasmengine::factory& factory;
  wasm_on_error on_error;
  const error_limit& max_errors;
  const record_reader::settings& input;
  bool packs;                    ///< Whether guests get records in batches. It costs, but an engine may want it.
  wasm_compression compression;  ///< Of those.
  /// Of the batches that are written. None for text.
  std::optional<wasm_compression> output_batches;
  const record_writer& writer;
  const record_writer& letter_writer;
  const output_files& files;
  output_queue& output;
  failures& failed;
  std::string transform;             ///< Its name.
  std::string input_name;            ///< For messages.
  std::function<void()> on_failure;  ///< Any thread.
  bool profile = false;              ///< Whether guests are profiled.
  bool checkpoints = false;          ///< Whether it is noted how far the run has come.
  run_progress begin = {};           ///< What an earlier run has done.
  std::optional<std::int64_t> time = {};  ///< Of records without one. None: when they are read.
  traffic passed = {};
};

/// Takes lines from a channel, makes records of them and sends the guest's output to the output queue. Small batches
/// that wait together go to the guest in one call.
class worker {
 public:
  worker(shared& s, std::uint32_t shard);
  worker(worker&&) = delete;

  /// Called on another thread than `run`.
  [[nodiscard]] channel<input_batch>& input() noexcept { return _input; }

  /// The body of the worker's thread. Does not throw.
  void run() noexcept;
  /// Ends the batch in progress. Nothing else is begun. Any thread, once.
  void interrupt() noexcept;

  /// After `run`.
  [[nodiscard]] const statistics& counted() const noexcept { return _counted; }
  /// After `run`: the guest's profile as JSON if there is one.
  [[nodiscard]] const std::string& profile() const noexcept { return _profile; }
  /// After `run`: why the last record was lost if one was.
  [[nodiscard]] const std::optional<wasmengine::error>& last_loss() const noexcept { return _last_loss; }

 private:
  /// A line that is no record.
  struct bad_line {
    const input_batch::part* part;
    std::string text;
    std::string why;
  };

  task serve();
  task start();
  task step(std::deque<input_batch>& waiting);
  task transform(guest_input& records, const std::function<void(std::size_t)>& mark_done);
  task lose(const bad_line& bad);
  void write_letter(const bad_line& bad, std::string& out) const;
  void stop_engine() noexcept;

  void note_losses();
  void note_last_loss();
  void note_traffic();
  void check_losses(std::uint64_t line);
  [[nodiscard]] std::uint64_t lost() const;
  void mark(const input_place& place, std::size_t records_behind);
  void count(const guest_input& records, std::size_t batch, std::size_t records_done);
  void fail(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why = {});
  void fail_transform(const guest_input& records, const output_sink& output, const wasmengine::error& e);

  shared& _shared;
  const std::uint32_t _shard;
  event_loop _loop;
  channel<input_batch> _input{_loop, 4};
  std::optional<wasmengine::engine> _engine;
  record_reader _reader;
  std::size_t _next_part = 0;  ///< Of the first batch that waits: up to here it is done.
  std::uint64_t _resume;       ///< So many records of the first batch an earlier run has done.
  bool _failed = false;        ///< This worker, in the step in progress.
  std::uint64_t _lost_lines = 0;
  std::string _last_lost_line;
  std::atomic<bool> _interrupted = false;
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
