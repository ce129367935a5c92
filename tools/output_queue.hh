// SPDX-License-Identifier: Apache-2.0
//
// Output on its way from the event loops to the files. A thread of its own writes it.
#pragma once

#include "checkpoint.hh"
#include "event_loop.hh"
#include "exit_code.hh"
#include "output_files.hh"

#include <wasm_engine/wasm_engine.hh>

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tool {

/// Never blocks an event loop. A loop that is ahead of the disk gets a promise that is resolved when there is room
/// again.
class output_queue {
 public:
  /// Calls `on_failure` on the writing thread when writing has failed.
  output_queue(output_files& files, std::function<void()> on_failure)
      : _files(files), _on_failure(std::move(on_failure)) {}
  output_queue(output_queue&&) = delete;

  /// Before `run`: writes checkpoints for what `mark` says. `columns` are those of CSV.
  void set_checkpoint(checkpoint& to, std::function<std::vector<std::string>()> columns) {
    _checkpoint = &to;
    _columns = std::move(columns);
  }

  /// Always takes lines for a file. False if further lines should wait for `when_room`. Throws `failure` once writing
  /// has failed. Any thread.
  [[nodiscard]] bool submit(std::size_t file, std::string lines);
  /// The output of everything before that place has been submitted. Any thread.
  void mark(const run_progress& p);
  /// Resolves the promise when there is room. Rejects it when writing has failed. Any thread.
  void when_room(wasmengine::promise waiting);
  /// `co_await room(loop)`: goes on when there is room or writing has failed.
  auto room(event_loop& loop) noexcept {
    struct awaiter {
      output_queue& queue;
      event_loop& loop;
      bool await_ready() noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> waiter) { return queue.wait(loop, waiter); }
      void await_resume() noexcept {}
    };
    return awaiter{*this, loop};
  }

  /// Writes until `close` was called and everything is written. The body of the writing thread. Does not throw.
  void run() noexcept;
  /// No more lines will come. Any thread.
  void close();

  /// Why writing failed. After `run`.
  [[nodiscard]] const std::optional<failure>& error() const noexcept { return _error; }
  /// The last state of the checkpoint, with `complete` as the caller has it. After `run`. Throws `failure`.
  void write_checkpoint(bool complete);

 private:
  struct chunk {
    std::size_t file;
    std::string lines;
  };
  using item = std::variant<chunk, run_progress>;
  struct waiter {
    event_loop* loop;
    std::coroutine_handle<> coroutine;
  };
  struct all_waiting {
    std::vector<wasmengine::promise> promises;
    std::vector<waiter> coroutines;
  };

  bool wait(event_loop& loop, std::coroutine_handle<> coroutine);
  void write(const std::vector<item>& items);
  void settle(all_waiting waiting, bool written) noexcept;

  output_files& _files;
  std::function<void()> _on_failure;
  checkpoint* _checkpoint = nullptr;
  std::function<std::vector<std::string>()> _columns;
  std::optional<checkpoint_state> _state;  ///< On the writing thread only.
  std::mutex _mutex;
  std::condition_variable _changed;
  std::vector<item> _items;
  std::size_t _bytes = 0;  ///< Submitted and not yet written.
  all_waiting _waiting;
  std::optional<failure> _error;
  bool _closed = false;
};

}  // namespace tool
