// SPDX-License-Identifier: Apache-2.0
//
// A coroutine that runs on a loop until it is done or destroyed.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace wasmengine::remote {

/// Starts at once. Destroying it ends it where it is suspended. `on_done` is told when it ends by itself, after which it
/// may be destroyed.
class [[nodiscard]] task {
 public:
  struct promise_type {
    void (*on_done)(void*) noexcept = nullptr;
    void* argument = nullptr;

    task get_return_object() noexcept { return task(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct finish {
        bool await_ready() noexcept { return false; }
        void await_suspend(handle done) noexcept { done.promise().on_done(done.promise().argument); }
        void await_resume() noexcept {}
      };
      return finish{};
    }
    void return_void() noexcept {}
    /// The body catches what it may throw.
    void unhandled_exception() noexcept { std::terminate(); }
  };

  task() noexcept = default;
  task(task&& other) noexcept : _coroutine(std::exchange(other._coroutine, nullptr)) {}
  task& operator=(task&& other) noexcept {
    std::swap(_coroutine, other._coroutine);
    return *this;
  }
  ~task() {
    if (_coroutine) {
      _coroutine.destroy();
    }
  }

  void start(void (*on_done)(void*) noexcept, void* argument) {
    _coroutine.promise().on_done = on_done;
    _coroutine.promise().argument = argument;
    _coroutine.resume();
  }

 private:
  using handle = std::coroutine_handle<promise_type>;
  explicit task(handle coroutine) noexcept : _coroutine(coroutine) {}
  handle _coroutine;
};

}  // namespace wasmengine::remote
