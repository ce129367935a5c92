// SPDX-License-Identifier: Apache-2.0
//
// Coroutines and callbacks on an event loop, for hosts that bring no coroutine type of their own.
#pragma once

#include "future.hh"

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace wasmengine {

/// What an event loop must offer so that futures can be awaited on it: to run something later on the same thread.
///
/// `post(function, argument)` is noexcept, may be called on any thread, and runs `function(argument)` on the loop's
/// thread once, never before `post` has returned on that thread.
template <typename L>
concept event_loop = requires(L& loop, void (*function)(void*) noexcept, void* argument) {
  { loop.post(function, argument) } noexcept;
};

/// Awaits a future on a loop; made by `on`. Owns the future, or refers to it if `F` is a reference.
///
/// The coroutine is resumed on the loop's thread. A guest that uses up its time slice goes to the back of the loop's
/// queue; one that waits for the host is not polled until it is woken. A coroutine that is suspended here must not be
/// destroyed while the loop may still run what was posted to it.
template <event_loop Loop, typename F>
class awaiting {
 public:
  awaiting(Loop& loop, F&& operation) noexcept : _loop(loop), _future(std::forward<F>(operation)) {}
  awaiting(awaiting&&) = delete;
  ~awaiting() { _polling = true; }

  [[nodiscard]] bool await_ready() noexcept { return false; }

  /// Polls once; an operation that is over at once does not suspend the coroutine.
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiter) noexcept {
    _waiter = waiter;
    return !poll();
  }

  result<void> await_resume() noexcept { return std::move(_outcome); }

 private:
  /// True when the operation is over; else something has been arranged that will poll again.
  bool poll() noexcept {
    const wasm_waker waker{this, wake, dropped};
    _polling = true;
    auto polled = _future.poll(&waker);
    _polling = false;
    if (!polled) {
      _outcome = polled.err();
      return true;
    }
    if (*polled == WASM_POLL_YIELDED) {
      _loop.post(poll_again, this);
    }
    return *polled == WASM_POLL_READY;
  }

  /// On any thread, after a poll that answered pending.
  static void wake(void* self) noexcept { static_cast<awaiting*>(self)->_loop.post(poll_again, self); }

  /// A waker that is dropped outside of a poll will never be called, because the engine was stopped or released: a poll
  /// tells that. Only this thread drops wakers.
  static void dropped(void* self) noexcept {
    if (auto* me = static_cast<awaiting*>(self); !me->_polling) {
      me->_loop.post(poll_again, self);
    }
  }

  static void poll_again(void* self) noexcept {
    auto* me = static_cast<awaiting*>(self);
    if (me->poll()) {
      me->_waiter.resume();
    }
  }

  Loop& _loop;
  F _future;
  std::coroutine_handle<> _waiter;
  result<void> _outcome;
  bool _polling = false;
};

/// `result<void> r = co_await on(loop, std::move(operation))`, or with an operation that lives on.
template <event_loop Loop, typename F>
  requires std::derived_from<std::remove_reference_t<F>, future>
[[nodiscard]] awaiting<Loop, F> on(Loop& loop, F&& operation) noexcept {
  return awaiting<Loop, F>(loop, std::forward<F>(operation));
}

/// `co_await resume_on(loop)`: what follows runs on the loop's thread, later.
template <event_loop Loop>
[[nodiscard]] auto resume_on(Loop& loop) noexcept {
  struct hop {
    Loop& loop;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept {
      loop.post([](void* frame) noexcept { std::coroutine_handle<>::from_address(frame).resume(); }, waiter.address());
    }
    void await_resume() const noexcept {}
  };
  return hop{loop};
}

/// Has the library poll a future on a loop until it is over, and then calls `on_done(result<void>)`, or
/// `on_done(result<void>, F)` to get the future back, such as a compilation to take the factory from. For operations
/// that nobody awaits. `on_done` runs on the loop's thread, must not throw, and is dropped uncalled only if this fails.
///
/// To cancel, stop or destroy the engine: the operation then fails with `WASM_STATUS_CANCELLED`. The loop must live,
/// and run what is posted to it, until then.
template <event_loop Loop, typename F, typename D>
  requires std::derived_from<F, future> &&
           (std::invocable<D&, result<void>> || std::invocable<D&, result<void>, F>)
result<void> spawn(Loop& loop, F operation, D on_done) {
  auto owned = std::make_unique<D>(std::move(on_done));
  const wasm_executor executor{
      sizeof(executor), &loop, nullptr, [](void* data, wasm_task* task) noexcept {
        static_cast<Loop*>(data)->post(
            [](void* scheduled) noexcept { (void)wasm_task_run(static_cast<wasm_task*>(scheduled), nullptr); }, task);
      }};
  const wasm_completion completion{
      sizeof(completion), owned.release(), [](void* data) noexcept { delete static_cast<D*>(data); },
      [](void* data, wasm_status status, wasm_error* why, wasm_future* over) noexcept {
        F finished;
        *finished.out() = over;
        auto outcome = status == WASM_STATUS_OK ? result<void>() : result<void>(error(status, why));
        // Moved out, so that what it holds ends here: the library may drop the rest of it on another thread.
        D done(std::move(*static_cast<D*>(data)));
        if constexpr (std::invocable<D&, result<void>, F>) {
          done(std::move(outcome), std::move(finished));
        } else {
          done(std::move(outcome));
        }
      }};
  auto spawned = detail::call(
      [&](wasm_error** e) { return wasm_future_spawn(operation.get(), &executor, &completion, e); });
  if (spawned) {
    (void)operation.release();
  }
  return spawned;
}

template <typename T = void>
class task;

namespace detail {

/// What the promise types of all tasks have in common: whom to tell about the end.
class task_promise_base {
 public:
  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] auto final_suspend() const noexcept {
    struct last {
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
        if (done != nullptr) {
          // Frees the coroutine, and with it the promise: nothing of it is touched from here on.
          const auto told = done;
          told(data);
          return std::noop_coroutine();
        }
        return waiter ? waiter : std::noop_coroutine();
      }
      void await_resume() const noexcept {}
      std::coroutine_handle<> waiter;
      void (*done)(void*) noexcept;
      void* data;
    };
    return last{_waiter, _done, _data};
  }
  void unhandled_exception() noexcept { _thrown = std::current_exception(); }

  void set_waiter(std::coroutine_handle<> waiter) noexcept { _waiter = waiter; }
  void set_done(void (*done)(void*) noexcept, void* data) noexcept {
    _done = done;
    _data = data;
  }

 protected:
  void rethrow() const {
    if (_thrown) {
      std::rethrow_exception(_thrown);
    }
  }

 private:
  std::coroutine_handle<> _waiter;
  void (*_done)(void*) noexcept = nullptr;
  void* _data = nullptr;
  std::exception_ptr _thrown;
};

template <typename T>
class task_promise final : public task_promise_base {
 public:
  [[nodiscard]] task<T> get_return_object() noexcept;
  template <typename U>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    _value.emplace(std::forward<U>(value));
  }
  [[nodiscard]] T take() {
    rethrow();
    return std::move(*_value);
  }

 private:
  std::optional<T> _value;
};

template <>
class task_promise<void> final : public task_promise_base {
 public:
  [[nodiscard]] task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const { rethrow(); }
};

}  // namespace detail

/// A coroutine that gives a `T`. It runs when it is awaited, or given to `start`; a host function's is started by the
/// library. Dropping one that is suspended destroys it, which is right only if nothing will resume it.
template <typename T>
class [[nodiscard]] task {
 public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task() noexcept = default;
  task(task&& other) noexcept : _frame(std::exchange(other._frame, nullptr)) {}
  task& operator=(task&& other) noexcept {
    std::swap(_frame, other._frame);
    return *this;
  }
  ~task() {
    if (_frame) {
      _frame.destroy();
    }
  }

  [[nodiscard]] auto operator co_await() && noexcept {
    struct awaiter {
      std::coroutine_handle<promise_type> frame;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) const noexcept {
        frame.promise().set_waiter(waiter);
        return frame;
      }
      T await_resume() const { return frame.promise().take(); }
    };
    return awaiter{_frame};
  }

  /// Runs it up to its first suspension. `done(data)` is called at its end, on whatever thread that is, and may destroy
  /// the task; it may come before this returns. For adapters; see `wasmengine::start`.
  void run(void (*done)(void*) noexcept, void* data) {
    _frame.promise().set_done(done, data);
    _frame.resume();
  }
  /// What it gave, or throws what it threw: once, after its end.
  [[nodiscard]] T take() { return _frame.promise().take(); }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_frame); }

 private:
  friend promise_type;
  explicit task(std::coroutine_handle<promise_type> frame) noexcept : _frame(frame) {}

  std::coroutine_handle<promise_type> _frame;
};

namespace detail {

template <typename T>
task<T> task_promise<T>::get_return_object() noexcept {
  return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}

inline task<void> task_promise<void>::get_return_object() noexcept {
  return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

}  // namespace detail

/// Runs a task that nobody awaits. What it throws ends the program, as with a thread.
inline void start(task<void> work) {
  auto* owned = new task<void>(std::move(work));
  owned->run(
      [](void* data) noexcept {
        const std::unique_ptr<task<void>> over(static_cast<task<void>*>(data));
        over->take();
      },
      owned);
}

}  // namespace wasmengine
