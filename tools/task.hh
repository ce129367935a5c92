// SPDX-License-Identifier: Apache-2.0
//
// A coroutine that an event loop runs.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace tool {

/// A coroutine without a result. It starts when it is awaited or passed to `event_loop::run`. Its exception is rethrown
/// there.
class [[nodiscard]] task {
 public:
  struct promise_type {
    std::coroutine_handle<> awaiter = std::noop_coroutine();
    std::exception_ptr error;

    task get_return_object() noexcept { return task(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct resume_awaiter {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(handle done) noexcept { return done.promise().awaiter; }
        void await_resume() noexcept {}
      };
      return resume_awaiter{};
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }
  };

  task(task&& other) noexcept : _coroutine(std::exchange(other._coroutine, nullptr)) {}
  task& operator=(task&&) = delete;
  ~task() {
    if (_coroutine) {
      _coroutine.destroy();
    }
  }

  void start() { _coroutine.resume(); }
  [[nodiscard]] bool done() const noexcept { return _coroutine.done(); }
  void rethrow() const {
    if (_coroutine.promise().error) {
      std::rethrow_exception(_coroutine.promise().error);
    }
  }

  auto operator co_await() const noexcept {
    struct awaiter {
      const task& awaited;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
        awaited._coroutine.promise().awaiter = waiter;
        return awaited._coroutine;
      }
      void await_resume() const { awaited.rethrow(); }
    };
    return awaiter{*this};
  }

 private:
  using handle = std::coroutine_handle<promise_type>;
  explicit task(handle coroutine) noexcept : _coroutine(coroutine) {}
  handle _coroutine;
};

}  // namespace tool
