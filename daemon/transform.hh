// SPDX-License-Identifier: Apache-2.0
//
// A transform: its module and its workers on all loops of this process.
#pragma once

#include "config.hh"
#include "event_loop.hh"
#include "log.hh"
#include "worker.hh"

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace transformd {

/// A transform as others see it.
struct transform_status {
  std::string name;
  std::string state;  ///< compiling, running, paused, failed or stopped.
  std::string error;
  std::string module_sha256;
  std::vector<worker_status> workers;
};

/// Any thread but for the constructor and the destructor.
class transform {
 public:
  transform(transform_file file, const wasmengine::runtime& runtime, std::deque<event_loop>& loops,
            asio::thread_pool& blocking, logger& log, std::string instance);
  transform(transform&&) = delete;
  /// After `stop` has completed.
  ~transform();

  /// Compiles the module and starts the workers. The status says how it went.
  void start();
  /// Ends each worker after its transaction. `done` is called once, on any thread.
  void stop(std::function<void()> done);
  void pause(bool paused);

  [[nodiscard]] const transform_file& file() const noexcept { return _file; }
  [[nodiscard]] transform_status status() const;

 private:
  struct place;

  asio::awaitable<void> compile_and_run();
  asio::awaitable<void> run_worker(place& at);
  void fail(const std::string& why);
  void leave();

  const transform_file _file;
  const wasmengine::runtime& _runtime;
  std::deque<event_loop>& _loops;
  logger& _log;
  worker_context _shared;
  std::vector<std::unique_ptr<place>> _places;

  mutable std::mutex _mutex;
  std::string _state = "compiling";
  std::string _error;
  std::string _sha256;
  bool _stopping = false;
  bool _paused = false;
  std::size_t _going = 0;  ///< Coroutines that have not ended.
  std::vector<std::function<void()>> _when_stopped;
};

}  // namespace transformd
