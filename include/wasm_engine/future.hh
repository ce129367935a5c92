// SPDX-License-Identifier: Apache-2.0
//
// Operations that are going on, to be polled, and promises; coroutine.hh has what awaits them.
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

  /// Gives the C handle away.
  [[nodiscard]] wasm_future* release() noexcept { return _raw.release(); }
  [[nodiscard]] wasm_future** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_future, detail::release_future> _raw;
};

/// An answer that comes later. Settle it once, on any thread; dropped unsettled it counts as rejected.
class promise {
 public:
  promise() noexcept = default;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_promise* get() const noexcept { return _raw.get(); }

  /// It is done: for a promise that expects no value.
  result<void> resolve() noexcept {
    return detail::call([&](wasm_error** e) { return wasm_promise_resolve(_raw.get(), e); });
  }
  /// The results of a host function, as in its signature.
  result<void> resolve(std::span<const wasm_value> values) noexcept {
    return detail::call(
        [&](wasm_error** e) { return wasm_promise_resolve_values(_raw.get(), values.data(), values.size(), e); });
  }
  /// Has `continuation`, `wasm_callback_result(wasm_call*, wasm_value* results) noexcept`, finish a host function on
  /// the engine's thread, with the guest's memory at hand. It is dropped uncalled if the guest is gone.
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
  /// For a step of a custom engine's transform: it fails at this record of the batch; see `wasm_call_fail_record`.
  result<void> reject_record(std::uint32_t index, std::string_view reason) noexcept {
    return detail::call(
        [&](wasm_error** e) { return wasm_promise_reject_record(_raw.get(), index, as_slice(reason), e); });
  }
  [[nodiscard]] wasm_promise** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_promise, wasm_promise_release> _raw;
};

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
