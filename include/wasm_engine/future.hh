// SPDX-License-Identifier: Apache-2.0
//
// Operations in progress and promises. coroutine.hh has the means to await them.
#pragma once

#include "error.hh"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace wasmengine {

namespace detail {
inline void release_future(wasm_future* raw) noexcept {
  // Refused on another thread and from one of the engine's own callbacks. Both are errors of the program. A leak is
  // better than freeing the future there.
  check_release(wasm_future_release(raw, nullptr), "future");
}
}  // namespace detail

/// An operation in progress. Releasing it early cancels it. An engine's future is tied to the engine's thread.
class future {
 public:
  future() noexcept = default;
  explicit future(wasm_future* raw) noexcept : _raw(raw) {}

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_future* get() const noexcept { return _raw.get(); }

  /// Polls the operation. `waker` may be null and is consumed. See `wasm_waker` in the C header.
  [[nodiscard]] result<wasm_poll> poll(const wasm_waker* waker = nullptr) noexcept {
    wasm_poll state = WASM_POLL_READY;
    auto polled = detail::call([&](wasm_error** e) { return wasm_future_poll(_raw.get(), waker, &state, e); });
    if (!polled) {
      return polled.err();
    }
    return state;
  }

  /// Releases the C handle to the caller.
  [[nodiscard]] wasm_future* release() noexcept { return _raw.release(); }
  [[nodiscard]] wasm_future** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_future, detail::release_future> _raw;
};

/// A task that was spawned on an executor. The task goes on if this is dropped.
class task_handle {
 public:
  task_handle() noexcept = default;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }

  /// Cancels the operation. Its completion is dropped without a call and the executor is not called any more. See
  /// `wasm_task_handle_abort`.
  result<void> abort() noexcept {
    return detail::call([&](wasm_error** e) { return wasm_task_handle_abort(_raw.get(), e); });
  }
  [[nodiscard]] wasm_task_handle** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_task_handle, wasm_task_handle_release> _raw;
};

/// The result that a callback gives later. Settle it once on any thread. If it is dropped unsettled, it counts as
/// rejected.
class promise {
 public:
  promise() noexcept = default;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_promise* get() const noexcept { return _raw.get(); }

  /// Resolves a promise that expects no value.
  result<void> resolve() noexcept {
    return detail::call([&](wasm_error** e) { return wasm_promise_resolve(_raw.get(), e); });
  }
  /// Resolves with the results of a host function as in its signature.
  result<void> resolve(std::span<const wasm_value> values) noexcept {
    return detail::call(
        [&](wasm_error** e) { return wasm_promise_resolve_values(_raw.get(), values.data(), values.size(), e); });
  }
  /// Has `continuation` finish a host function on the engine's thread, where it can use the guest's memory. It is a
  /// `wasm_callback_result(wasm_call*, wasm_value* results) noexcept`. If the guest is gone, it is dropped without a
  /// call.
  template <typename C>
    requires std::is_nothrow_invocable_r_v<wasm_callback_result, C&, wasm_call*, wasm_value*>
  result<void> resolve_with(C continuation) {
    const wasm_continuation raw{
        sizeof(raw), new C(std::move(continuation)), [](void* data) noexcept { delete static_cast<C*>(data); },
        [](void* data, wasm_call* call, wasm_value* results) noexcept -> wasm_callback_result {
          return (*static_cast<C*>(data))(call, results);
        }};
    return detail::call([&](wasm_error** e) { return wasm_promise_resolve_with(_raw.get(), &raw, e); });
  }
  result<void> reject(std::string_view reason) noexcept {
    return detail::call([&](wasm_error** e) { return wasm_promise_reject(_raw.get(), as_slice(reason), e); });
  }
  /// For a step of a custom engine's transform: it fails at this record of the batch. See `wasm_call_fail_record`.
  result<void> reject_record(std::uint32_t index, std::string_view reason) noexcept {
    return detail::call(
        [&](wasm_error** e) { return wasm_promise_reject_record(_raw.get(), index, as_slice(reason), e); });
  }
  [[nodiscard]] wasm_promise** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_promise, wasm_promise_release> _raw;
};

/// Drives an operation to its end and blocks the thread while it waits. For tools and tests. Another thread must settle
/// the promises of a sink that returns pending.
inline result<void> drive(future& operation) {
  // Shared with the waker. Another thread may still be inside it when this returns.
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
    // Most operations complete at the first poll or yield. No waker is made for those.
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
