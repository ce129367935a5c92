// SPDX-License-Identifier: Apache-2.0
//
// A compiled module of a transform, and the one before it.
#pragma once

#include "config.hh"
#include "log.hh"
#include "off_loop.hh"
#include "state_directory.hh"

#include <wasm_engine/wasm_engine.hh>

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace transformd {

/// A module that compiled.
struct module_version {
  std::vector<std::uint8_t> bytes;  ///< Empty if nothing is kept on disk.
  std::string sha256;
  wasmengine::factory factory;
};
using module_ptr = std::shared_ptr<const module_version>;

/// The module that a transform's workers run and the one before. The coroutines run on one event loop, one at a time. They
/// throw what makes a module useless; nothing has changed then.
class module_history {
 public:
  /// All but `state` outlive this. Without `state` what is deployed ends with the process.
  module_history(const transform_file& file, const wasmengine::runtime& runtime, asio::thread_pool& blocking, logger& log,
                 std::optional<state_directory> state);

  /// At the start of the transform: the deployed module or the file's.
  asio::awaitable<module_ptr> load(asio::io_context& loop, const std::atomic<bool>& give_up);
  /// Compiles `module` and starts a guest once. It is the current one then.
  asio::awaitable<module_ptr> deploy(asio::io_context& loop, std::vector<std::uint8_t> module);
  /// Back to the module before, which then has the current one as its own before.
  asio::awaitable<module_ptr> rollback();

  /// NULL before `load`.
  [[nodiscard]] const module_ptr& current() const noexcept { return _current; }

 private:
  asio::awaitable<module_ptr> compile(asio::io_context& loop, std::vector<std::uint8_t> module);
  asio::awaitable<void> keep(module_ptr current, module_ptr previous);

  const transform_file& _file;
  const wasmengine::runtime& _runtime;
  asio::thread_pool& _blocking;
  logger& _log;
  const std::optional<state_directory> _state;
  std::string _file_sha256;
  module_ptr _current;
  module_ptr _previous;
};

/// Makes a guest of `module` that has started. `on_error` is its policy. Throws `final_failure`.
asio::awaitable<wasmengine::engine> start_guest(asio::io_context& loop, const module_version& module,
                                                const transform_file& file);

}  // namespace transformd
