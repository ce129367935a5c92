// SPDX-License-Identifier: Apache-2.0
//
// Output on its way from the event loops to the files, which a thread of its own writes.
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

/// Never blocks an event loop: one that is ahead of the disk gets a promise kept when there is room again.
class output_queue {
 public:
  explicit output_queue(output_files& files) : _files(files) {}
  output_queue(output_queue&&) = delete;

  /// Takes lines for a file, always; false if more should wait for `when_room`. Throws `failure` once writing has
  /// failed. Any thread.
  [[nodiscard]] bool submit(std::size_t file, std::string lines);
  /// Resolves the promise when there is room, or rejects it when writing has failed. Any thread.
  void when_room(wasmengine::promise waiting);

  /// Writes until `close` was called and all is written: the body of the writing thread. Does not throw.
  void run() noexcept;
  /// Nothing comes any more. Any thread.
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
