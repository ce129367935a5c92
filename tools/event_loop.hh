// SPDX-License-Identifier: Apache-2.0
//
// The smallest event loop for engines: a queue of functions and a thread that calls them.
//
// A host that has a loop already needs only a `post` like this one. Then it can write
//
//     auto result = co_await wasmengine::on(loop, engine.transform(batch, sink).value());
//
// in its coroutines. A guest that uses its whole time slice goes to the back of the queue. One that waits for the host
// costs nothing until it is woken.
#pragma once

#include "task.hh"

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace tool {

/// Runs on the thread that calls `run`.
class event_loop {
 public:
  using function = void (*)(void*) noexcept;

  event_loop() = default;
  event_loop(event_loop&&) = delete;

  /// Calls `f(argument)` on the loop's thread after the earlier ones. Any thread.
  void post(function f, void* argument) noexcept {
    const std::lock_guard lock(_mutex);
    _posted.emplace_back(f, argument);
    _not_empty.notify_one();
  }

  /// Runs the loop until `main` has completed. Throws its exception.
  void run(task main) {
    main.start();
    std::vector<std::pair<function, void*>> batch;
    while (!main.done()) {
      {
        std::unique_lock lock(_mutex);
        _not_empty.wait(lock, [this] { return !_posted.empty(); });
        batch.swap(_posted);
      }
      for (const auto& [f, argument] : batch) {
        f(argument);
      }
      batch.clear();
    }
    main.rethrow();
  }

 private:
  std::mutex _mutex;
  std::condition_variable _not_empty;
  std::vector<std::pair<function, void*>> _posted;
};

}  // namespace tool
