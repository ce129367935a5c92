// SPDX-License-Identifier: Apache-2.0
//
// What an engine does when its guest fails: `engine::set_policy`.
#pragma once

#include "future.hh"
#include "sanitizer.hh"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>

namespace wasmengine {

/// As `wasm_engine_policy`, which has the delivery guarantees. Zero times mean the defaults. The thresholds make it a
/// circuit breaker:
///
///   engine.set_policy({.on_error = WASM_ON_ERROR_SKIP, .lost_max = 10, .lost_window = 1000}, timer).value();
struct policy {
  wasm_on_error on_error = WASM_ON_ERROR_FAIL;
  std::chrono::nanoseconds backoff_min{0};    ///< From the first of consecutive failures to the next start. 1 s.
  std::chrono::nanoseconds backoff_max{0};    ///< The longest delay. 30 s.
  std::chrono::nanoseconds healthy_after{0};  ///< A guest that ran this long resets the failure streak. 10 s.
  std::uint32_t lost_max = 0;           ///< Records that may be lost of any `lost_window` consecutive ones.
  std::uint32_t lost_window = 0;        ///< 0: any number may be lost.
  std::uint32_t restart_max = 0;        ///< Restarts by the policy that may come in `restart_window`.
  std::uint32_t half_open_records = 0;  ///< Records without a failure that close a half-open circuit. 100.
  std::chrono::nanoseconds restart_window{0};  ///< Zero: any number of restarts. Needs a timer.
  std::chrono::nanoseconds open{0};            ///< How long a circuit stays open. 60 s. Needs a timer.
};

/// The host's clock and timer for the delay before a guest is started again:
///
///   std::chrono::nanoseconds now() noexcept;                 // never goes back
///   void sleep(std::chrono::nanoseconds time, promise p);    // resolves `p` after that time, on any thread
///
/// Called on the engine's thread while one of its futures is polled. An exception of `sleep` fails that operation. So
/// does a promise that is dropped.
template <typename T>
concept restart_timer = requires(T& timer, std::chrono::nanoseconds time, promise p) {
  { timer.now() } noexcept -> std::convertible_to<std::chrono::nanoseconds>;
  timer.sleep(time, std::move(p));
};

namespace detail {

template <restart_timer T>
std::uint64_t timer_now(void* data) noexcept {
  const std::chrono::nanoseconds now = static_cast<T*>(data)->now();
  return static_cast<std::uint64_t>(now.count());
}

template <restart_timer T>
wasm_callback_result timer_sleep(void* data, std::uint64_t nanoseconds, wasm_call* call) noexcept {
  try {
    auto done = make<promise>([&](wasm_promise** out, wasm_error** e) { return wasm_call_promise(call, out, e); });
    const std::chrono::nanoseconds time(static_cast<std::int64_t>(nanoseconds));
    static_cast<T*>(data)->sleep(time, std::move(done.value()));
    return WASM_CALLBACK_RESULT_PENDING;
  } catch (const std::exception& e) {
    forget_unwound_frames();
    (void)wasm_call_fail(call, as_slice(e.what()), nullptr);
    return WASM_CALLBACK_RESULT_FAILED;
  } catch (...) {
    return WASM_CALLBACK_RESULT_FAILED;
  }
}

/// `timer` may be null.
inline result<void> set_policy(wasm_engine* engine, const policy& p, const wasm_timer* timer) noexcept {
  const auto time = [](std::chrono::nanoseconds t) { return static_cast<std::uint64_t>(t.count()); };
  const wasm_engine_policy raw{sizeof(raw),          p.on_error,           time(p.backoff_min), time(p.backoff_max),
                               time(p.healthy_after), timer,                p.lost_max,          p.lost_window,
                               p.restart_max,        p.half_open_records, time(p.restart_window), time(p.open)};
  return call([&](wasm_error** e) { return wasm_engine_set_policy(engine, &raw, e); });
}

}  // namespace detail

}  // namespace wasmengine
