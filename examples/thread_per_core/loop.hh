// SPDX-License-Identifier: Apache-2.0
//
// The event loop of one thread: posted functions, timers and idle moments. A broker has one already.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

class event_loop {
 public:
  using clock = std::chrono::steady_clock;

  /// Runs `function(argument)` later on the loop's thread. Any thread. What `we::on` asks of a loop.
  void post(void (*function)(void*) noexcept, void* argument) noexcept {
    {
      const std::lock_guard lock(_mutex);
      _posted.push_back({function, argument});
    }
    _changed.notify_one();
  }

  /// As above with any function object.
  template <typename F>
  void call(F function) {
    post([](void* data) noexcept { (*std::unique_ptr<F>(static_cast<F*>(data)))(); }, new F(std::move(function)));
  }

  /// Runs a function at some time. On the loop's thread.
  void at(clock::time_point time, std::function<void()> function) { _timers.emplace(time, std::move(function)); }

  /// `co_await sleep(loop, time)`
  [[nodiscard]] auto sleep(clock::duration time) {
    struct sleeping {
      event_loop& loop;
      clock::duration time;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const { loop.at(clock::now() + time, waiter); }
      void await_resume() const noexcept {}
    };
    return sleeping{*this, time};
  }

  /// Runs until `stop`. Whenever nothing else is to be done `idle` does a little and returns whether there is more.
  template <typename Idle>
  void run(Idle idle) {
    while (!_stopped) {
      std::vector<item> ready;
      {
        const std::lock_guard lock(_mutex);
        ready.swap(_posted);
      }
      for (const auto& item : ready) {
        item.function(item.argument);
      }
      const bool due = run_timers();
      if (!ready.empty() || due || idle()) {
        continue;
      }
      std::unique_lock lock(_mutex);
      const auto something = [this] { return !_posted.empty(); };
      if (_timers.empty()) {
        _changed.wait(lock, something);
      } else {
        _changed.wait_until(lock, _timers.begin()->first, something);
      }
    }
  }
  void stop() { _stopped = true; }

 private:
  struct item {
    void (*function)(void*) noexcept;
    void* argument;
  };

  bool run_timers() {
    bool any = false;
    while (!_timers.empty() && _timers.begin()->first <= clock::now()) {
      auto timer = _timers.extract(_timers.begin());
      timer.mapped()();
      any = true;
    }
    return any;
  }

  std::mutex _mutex;
  std::condition_variable _changed;
  std::vector<item> _posted;
  std::multimap<clock::time_point, std::function<void()>> _timers;
  bool _stopped = false;
};

/// The clock of engines' policies.
struct restart_timer {
  event_loop& loop;

  std::chrono::nanoseconds now() noexcept { return event_loop::clock::now().time_since_epoch(); }
  void sleep(std::chrono::nanoseconds time, wasmengine::promise passed) {
    loop.at(event_loop::clock::now() + time, [p = std::make_shared<wasmengine::promise>(std::move(passed))] {
      (void)p->resolve();
    });
  }
};
