// SPDX-License-Identifier: Apache-2.0
//
// Coroutines and callbacks on an event loop for hosts without a coroutine type of their own.
#pragma once

#include "future.hh"

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

namespace wasmengine {

/// What an event loop must offer so that futures can be awaited on it: it runs a function later on its thread.
///
/// `post(function, argument)` is noexcept and may be called on any thread. It runs `function(argument)` once on the
/// loop's thread and never before `post` has returned on that thread. A loop that drops posted functions when it goes
/// should have `post(function, argument, discard)`: it calls `discard(argument)` instead of `function`.
template <typename L>
concept event_loop = requires(L& loop, void (*function)(void*) noexcept, void* argument) {
  { loop.post(function, argument) } noexcept;
};

namespace detail {

/// Posts with what is to be done if the loop drops the function and has a way to tell.
template <event_loop Loop>
void post(Loop& loop, void (*function)(void*) noexcept, void* argument,
          [[maybe_unused]] void (*discard)(void*) noexcept) noexcept {
  if constexpr (requires { loop.post(function, argument, discard); }) {
    loop.post(function, argument, discard);
  } else {
    loop.post(function, argument);
  }
}

}  // namespace detail

/// Awaits a future on a loop. Made by `on`. Owns the future unless `F` is a reference.
///
/// The coroutine is resumed on the loop's thread. A guest that uses its whole time slice goes to the back of the loop's
/// queue. One that waits for the host is not polled until it is woken. A coroutine that is suspended here may be
/// destroyed on the loop's thread. That cancels an operation that it owns and the loop is not called any more.
template <event_loop Loop, typename F>
class awaiting {
 public:
  awaiting(Loop& loop, F&& operation) noexcept : _loop(loop), _future(std::forward<F>(operation)) {}
  awaiting(awaiting&&) = delete;
  ~awaiting() {
    if (_link != nullptr) {
      {
        // Another thread may be inside of the loop's function.
        const std::lock_guard lock(_link->mutex);
        _link->to = nullptr;
      }
      link::release(_link);
    }
  }

  [[nodiscard]] bool await_ready() noexcept { return false; }

  /// Polls once. An operation that completes at once does not suspend the coroutine.
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiter) {
    _waiter = waiter;
    return !poll();
  }

  result<void> await_resume() noexcept { return std::move(_outcome); }

 private:
  /// What wakers and posted functions refer to. Each owns a reference, because both may come after the coroutine.
  struct link {
    explicit link(awaiting* a) noexcept : to(a) {}

    static void release(void* data) noexcept {
      auto* me = static_cast<link*>(data);
      if (me->references.fetch_sub(1) == 1) {
        delete me;
      }
    }

    /// On any thread after a poll that returned pending. Gives the waker's reference to the loop.
    static void wake(void* data) noexcept {
      auto* me = static_cast<link*>(data);
      {
        const std::lock_guard lock(me->mutex);
        if (me->to != nullptr) {
          // The coroutine and its loop stay until the lock is free.
          ++me->references;
          detail::post(me->to->_loop, poll_again, me, release);
        }
      }
      release(me);
    }

    /// A waker that is dropped outside of a poll is never called because the engine was stopped or released. A poll
    /// reports that. Only the loop's thread drops wakers.
    static void dropped(void* data) noexcept {
      auto* me = static_cast<link*>(data);
      if (me->polling) {
        release(me);
      } else {
        wake(me);
      }
    }

    static void poll_again(void* data) noexcept {
      auto* me = static_cast<link*>(data);
      awaiting* to = nullptr;
      {
        const std::lock_guard lock(me->mutex);
        to = me->to;
      }
      if (to != nullptr && to->poll()) {
        to->_waiter.resume();
      }
      release(me);
    }

    std::atomic<int> references{1};
    std::mutex mutex;
    awaiting* to;
    bool polling = false;
  };

  /// True when the operation has completed. Otherwise another poll is arranged.
  bool poll() {
    // Most operations complete at the first poll or yield. No waker is made for those.
    auto polled = _future.poll();
    if (!polled && polled.err().status() == WASM_STATUS_BUSY) {
      polled = WASM_POLL_YIELDED;  // One of the engine's own callbacks runs the loop: poll later.
    }
    if (polled && *polled != WASM_POLL_READY) {
      if (_link == nullptr) {
        _link = new link(this);
      }
      ++_link->references;
      if (*polled == WASM_POLL_YIELDED) {
        detail::post(_loop, link::poll_again, _link, link::release);
        return false;
      }
      const wasm_waker waker{_link, link::wake, link::dropped};
      _link->polling = true;
      polled = _future.poll(&waker);
      _link->polling = false;
      if (polled && *polled == WASM_POLL_YIELDED) {
        ++_link->references;
        detail::post(_loop, link::poll_again, _link, link::release);
      }
    }
    if (!polled) {
      _outcome = polled.err();
      return true;
    }
    return *polled == WASM_POLL_READY;
  }

  Loop& _loop;
  F _future;
  std::coroutine_handle<> _waiter;
  result<void> _outcome;
  link* _link = nullptr;
};

/// `result<void> r = co_await on(loop, std::move(operation))`. Also with a reference to an operation that outlives it.
template <event_loop Loop, typename F>
  requires std::derived_from<std::remove_reference_t<F>, future>
[[nodiscard]] awaiting<Loop, F> on(Loop& loop, F&& operation) noexcept {
  return awaiting<Loop, F>(loop, std::forward<F>(operation));
}

/// `co_await resume_on(loop)`: the coroutine continues later on the loop's thread.
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

namespace detail {

/// What the library has of a spawned operation: the executor of its task and the completion.
template <event_loop Loop, typename F, typename D>
class spawned_task {
 public:
  spawned_task(Loop& loop, D on_done) : _loop(loop), _done(std::move(on_done)) {}

  [[nodiscard]] wasm_executor executor() noexcept {
    return {sizeof(wasm_executor), this, [](void* data) noexcept { delete static_cast<spawned_task*>(data); },
            [](void* data, wasm_task* task) noexcept {
              auto* me = static_cast<spawned_task*>(data);
              me->_task = task;
              detail::post(me->_loop, run, me, discard);
            }};
  }
  /// Dropped before the executor is.
  [[nodiscard]] wasm_completion completion() noexcept {
    return {sizeof(wasm_completion), this, [](void* data) noexcept { static_cast<spawned_task*>(data)->_done.reset(); },
            complete};
  }

 private:
  // The library frees this when it has taken the task over.
  static void run(void* data) noexcept {
    auto* me = static_cast<spawned_task*>(data);
    if (wasm_task_run(me->_task, nullptr) == WASM_STATUS_BUSY) {
      // One of the engine's own callbacks runs the loop.
      detail::post(me->_loop, run, me, discard);
    }
  }
  static void discard(void* data) noexcept {
    auto* me = static_cast<spawned_task*>(data);
    const auto status = wasm_task_release(me->_task, nullptr);
    if (status == WASM_STATUS_BUSY) {
      // One of the engine's own callbacks closes the loop. If the engine is busy at the next time, too, the task leaks.
      detail::post(me->_loop, run, me, [](void* left) noexcept {
        (void)wasm_task_release(static_cast<spawned_task*>(left)->_task, nullptr);
      });
    }
    check_release(status, "future");
  }

  static void complete(void* data, wasm_status status, wasm_error* why, wasm_future* over) noexcept {
    F finished;
    *finished.out() = over;
    auto outcome = status == WASM_STATUS_OK ? result<void>() : result<void>(error(status, why));
    // Moved out so that its captures end here.
    D done(std::move(*static_cast<spawned_task*>(data)->_done));
    if constexpr (std::invocable<D&, result<void>, F>) {
      done(std::move(outcome), std::move(finished));
    } else {
      done(std::move(outcome));
    }
  }

  Loop& _loop;
  wasm_task* _task = nullptr;
  std::optional<D> _done;
};

}  // namespace detail

/// Has the library poll a future on a loop until it has completed. Then calls `on_done(result<void>)` or
/// `on_done(result<void>, F)`. The latter gets the future back, for example to take the factory from a compilation. For
/// operations that are not awaited. `on_done` runs on the loop's thread and must not throw. It is dropped without a
/// call only if this function fails, the task is aborted or the loop drops what was posted. A loop that is gone drops a
/// compilation's on the thread that posts. It cannot drop an engine's operation on another thread than the engine's.
///
/// To cancel, stop or destroy the engine. The operation then fails with `WASM_STATUS_CANCELLED`. Or abort the task that
/// this returns. The loop must live until the operation has completed or was aborted.
template <event_loop Loop, typename F, typename D>
  requires std::derived_from<F, future> &&
           (std::invocable<D&, result<void>> || std::invocable<D&, result<void>, F>)
result<task_handle> spawn(Loop& loop, F operation, D on_done) {
  // Owned by the library from here on.
  auto* const task = new detail::spawned_task<Loop, F, D>(loop, std::move(on_done));
  const wasm_executor executor = task->executor();
  const wasm_completion completion = task->completion();
  auto spawned = detail::make<task_handle>([&](wasm_task_handle** out, wasm_error** e) {
    return wasm_future_spawn_abortable(operation.get(), &executor, &completion, out, e);
  });
  if (spawned) {
    (void)operation.release();
  }
  return spawned;
}

template <typename T = void>
class task;

namespace detail {

/// What the promise types of all tasks have in common: the notification at the end.
class task_promise_base {
 public:
  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] auto final_suspend() const noexcept {
    struct last {
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<>) const noexcept {
        if (done != nullptr) {
          // This frees the coroutine and its promise. Neither is touched from here on.
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

/// A coroutine that returns a `T`. It runs when it is awaited or passed to `start`. The library starts that of a host
/// function. Dropping a suspended task destroys it. Do that only if nothing will resume it.
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

  /// Runs the task up to its first suspension. `done(data)` is called at its end on any thread and possibly before this
  /// returns. It may destroy the task. For adapters: see `wasmengine::start`.
  void run(void (*done)(void*) noexcept, void* data) {
    _frame.promise().set_done(done, data);
    _frame.resume();
  }
  /// Returns its value or throws its exception. Once, after its end.
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

/// Runs a task that is not awaited. An exception of it ends the program as with a thread.
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
