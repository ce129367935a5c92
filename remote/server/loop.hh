// SPDX-License-Identifier: Apache-2.0
//
// An event loop on a thread of its own: posted functions and a tick.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace wasmengine::remote {

class loop {
 public:
  static constexpr std::chrono::milliseconds tick{25};

  /// Runs `begin` first and `on_tick` about once per `tick`, both on the new thread. While `on_tick` returns false, the
  /// thread sleeps until something is posted.
  loop(std::function<void()> begin, std::function<bool()> on_tick)
      : _begin(std::move(begin)), _on_tick(std::move(on_tick)), _thread([this] { run(); }) {}
  loop(loop&&) = delete;
  /// Runs what was posted and ends the thread.
  ~loop() {
    {
      const std::lock_guard lock(_mutex);
      _stops = true;
    }
    _not_empty.notify_one();
    _thread.join();
  }

  /// Runs `function(argument)` later on the thread. Any thread.
  void post(void (*function)(void*) noexcept, void* argument) noexcept {
    {
      const std::lock_guard lock(_mutex);
      _posted.emplace_back(function, argument);
    }
    _not_empty.notify_one();
  }

  /// As above with any function object.
  template <typename F>
  void call(F function) {
    post([](void* data) noexcept { (*std::unique_ptr<F>(static_cast<F*>(data)))(); }, new F(std::move(function)));
  }

 private:
  void run() {
    _begin();
    std::vector<std::pair<void (*)(void*) noexcept, void*>> ready;
    auto next_tick = std::chrono::steady_clock::now() + tick;
    bool ticks = false;
    for (;;) {
      bool stops = false;
      {
        std::unique_lock lock(_mutex);
        const auto something = [this] { return !_posted.empty() || _stops; };
        if (ticks) {
          _not_empty.wait_until(lock, next_tick, something);
        } else {
          _not_empty.wait(lock, something);
        }
        ready.swap(_posted);
        stops = _stops && ready.empty();
      }
      for (const auto& [function, argument] : ready) {
        function(argument);
      }
      ticks = ticks || !ready.empty();
      ready.clear();
      if (stops) {
        return;
      }
      if (const auto now = std::chrono::steady_clock::now(); now >= next_tick) {
        ticks = _on_tick();
        next_tick = now + tick;
      }
    }
  }

  std::function<void()> _begin;
  std::function<bool()> _on_tick;
  std::mutex _mutex;
  std::condition_variable _not_empty;
  std::vector<std::pair<void (*)(void*) noexcept, void*>> _posted;
  bool _stops = false;
  std::thread _thread;  // last: it uses the others
};

}  // namespace wasmengine::remote
