// SPDX-License-Identifier: Apache-2.0
//
// Operations that are going on: polled, or awaited by a C++20 coroutine.
#pragma once

#include "error.hh"

#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace wasmengine {

namespace detail {
inline void release_future(wasm_future* raw) noexcept {
  // Refused on a foreign thread and from the engine's own callback: both are errors of the program, and freeing the
  // future there would be worse than leaking it.
  (void)wasm_future_release(raw, nullptr);
}
}  // namespace detail

/// An operation that is going on. Releasing it early cancels it. Tied to the engine's thread if it is an engine's.
class future {
 public:
  future() noexcept = default;
  explicit future(wasm_future* raw) noexcept : _raw(raw) {}

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_future* get() const noexcept { return _raw.get(); }

  /// Drives the operation on. `waker`, if given, is used up; see `wasm_waker` in the C header.
  [[nodiscard]] result<wasm_poll> poll(const wasm_waker* waker = nullptr) noexcept {
    wasm_poll state = WASM_POLL_READY;
    auto polled = detail::call([&](wasm_error** e) { return wasm_future_poll(_raw.get(), waker, &state, e); });
    if (!polled) {
      return polled.err();
    }
    return state;
  }

  [[nodiscard]] wasm_future** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_future, detail::release_future> _raw;
};

/// What an event loop must offer so that a coroutine on it can await futures: to run something later on the same thread.
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
    const wasm_waker waker{this, wake, nullptr};
    auto polled = _future.poll(&waker);
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
};

/// `result<void> r = co_await on(loop, std::move(operation))`, or with an operation that lives on.
template <event_loop Loop, typename F>
  requires std::derived_from<std::remove_reference_t<F>, future>
[[nodiscard]] awaiting<Loop, F> on(Loop& loop, F&& operation) noexcept {
  return awaiting<Loop, F>(loop, std::forward<F>(operation));
}

/// Drives an operation to its end, blocking the thread while it waits: for tools and tests. A sink that answers pending
/// must have its promise settled by another thread.
inline result<void> drive(future& operation) {
  // Shared with the waker, which another thread may still be inside when this returns.
  struct gate {
    std::mutex mutex;
    std::condition_variable opened;
    bool open = false;
  };
  auto shared = std::make_shared<gate>();
  const auto drop = [](void* data) { delete static_cast<std::shared_ptr<gate>*>(data); };
  const auto wake = [](void* data) {
    const std::unique_ptr<std::shared_ptr<gate>> owned(static_cast<std::shared_ptr<gate>*>(data));
    const std::lock_guard lock((*owned)->mutex);
    (*owned)->open = true;
    (*owned)->opened.notify_one();
  };
  for (;;) {
    // Most operations are over at the first poll, or yield: no waker is made for those.
    auto polled = operation.poll();
    if (polled && *polled == WASM_POLL_PENDING) {
      const wasm_waker waker{new std::shared_ptr<gate>(shared), wake, drop};
      polled = operation.poll(&waker);
      if (polled && *polled == WASM_POLL_PENDING) {
        std::unique_lock lock(shared->mutex);
        shared->opened.wait(lock, [&] { return std::exchange(shared->open, false); });
        continue;
      }
    }
    if (!polled) {
      return polled.err();
    }
    if (*polled == WASM_POLL_READY) {
      return {};
    }
  }
}

}  // namespace wasmengine
