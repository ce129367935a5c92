// SPDX-License-Identifier: Apache-2.0
//
// A transform: its module and its workers on all loops of this process.
#pragma once

#include "config.hh"
#include "event_loop.hh"
#include "log.hh"
#include "log_topic.hh"
#include "module_version.hh"
#include "worker.hh"

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace transformd {

/// A transform as others see it.
struct transform_status {
  std::string name;
  std::string state;  ///< compiling, running, paused, failed or stopped.
  std::string error;
  std::string module_sha256;
  std::uint64_t log_lines_dropped = 0;  ///< For which the log topic's client had no room.
  std::vector<worker_status> workers;
};

/// Any thread but for the constructor and the destructor.
class transform {
 public:
  /// All but `file`, `instance` and `state` outlive this.
  transform(transform_file file, const wasmengine::runtime& runtime, std::deque<event_loop>& loops,
            asio::thread_pool& blocking, logger& log, std::string instance, std::optional<state_directory> state);
  transform(transform&&) = delete;
  /// After `close` has completed.
  ~transform();

  /// Compiles the module if that was not done yet and starts the workers. The status says how it went. False if the
  /// transform runs already or stops just now.
  bool start();
  /// Ends each worker after its transaction. `done` is called once, on any thread.
  void stop(std::function<void()> done);
  /// Stops for ever.
  void close(std::function<void()> done);
  void pause(bool paused);
  /// The workers that have partitions concerned go on there. False if there are no workers.
  bool seek(seek_request to);

  /// Compiles a module and has the workers run it. Starts the transform if it has failed or was stopped. Throws why it
  /// is refused: nothing has changed then.
  asio::awaitable<void> deploy(std::vector<std::uint8_t> module);
  /// Back to the module before, likewise.
  asio::awaitable<void> rollback();

  [[nodiscard]] const transform_file& file() const noexcept { return _file; }
  [[nodiscard]] transform_status status() const;

 private:
  struct place;

  asio::awaitable<void> load_and_run();
  asio::awaitable<void> run_worker(place& at, module_ptr module);
  asio::awaitable<void> change_module(std::function<asio::awaitable<module_ptr>()> change);
  void begin_workers(const module_ptr& module);
  void on_workers(std::function<void(worker&)> f);
  void end_workers(std::function<void()> done);
  void fail(const std::string& why);
  void leave();

  const transform_file _file;
  std::deque<event_loop>& _loops;
  logger& _log;
  worker_context _shared;
  module_history _modules;  ///< Used on the first loop, by one coroutine at a time.
  std::shared_ptr<log_topic> _log_topic;
  std::vector<std::unique_ptr<place>> _places;
  std::atomic<bool> _give_up = false;  ///< The daemon ends: a download does, too.

  mutable std::mutex _mutex;
  std::string _state = "stopped";
  std::string _error;
  std::string _sha256;
  bool _changing = false;  ///< A coroutine uses `_modules`.
  bool _stopping = false;
  bool _closed = false;
  bool _paused = false;
  bool _restart = false;        ///< It has a new module and begins again when all have ended.
  std::size_t _stops = 0;       ///< How often it was asked to stop.
  std::size_t _going = 0;  ///< Coroutines that have not ended.
  std::vector<std::function<void()>> _when_stopped;
};

}  // namespace transformd
