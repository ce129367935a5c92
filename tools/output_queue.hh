// SPDX-License-Identifier: Apache-2.0
//
// Output on its way from the event loops to the files. A thread of its own writes it.
#pragma once

#include "exit_code.hh"
#include "output_files.hh"

#include <wasm_engine/wasm_engine.hh>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tool {

/// Never blocks an event loop. A loop that is ahead of the disk gets a promise that is resolved when there is room
/// again.
class output_queue {
 public:
  explicit output_queue(output_files& files) : _files(files) {}
  output_queue(output_queue&&) = delete;

  /// Always takes lines for a file. False if further lines should wait for `when_room`. Throws `failure` once writing
  /// has failed. Any thread.
  [[nodiscard]] bool submit(std::size_t file, std::string lines);
  /// Resolves the promise when there is room. Rejects it when writing has failed. Any thread.
  void when_room(wasmengine::promise waiting);

  /// Writes until `close` was called and everything is written. The body of the writing thread. Does not throw.
  void run() noexcept;
  /// No more lines will come. Any thread.
  void close();

  /// Why writing failed. After `run`.
  [[nodiscard]] const std::optional<failure>& error() const noexcept { return _error; }

 private:
  using chunk = std::pair<std::size_t, std::string>;
  void write(const std::vector<chunk>& chunks);
  void settle(std::vector<wasmengine::promise> waiting, bool written) noexcept;

  output_files& _files;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::vector<chunk> _chunks;
  std::size_t _bytes = 0;  ///< Submitted and not yet written.
  std::vector<wasmengine::promise> _waiting;
  std::optional<failure> _error;
  bool _closed = false;
};

}  // namespace tool
