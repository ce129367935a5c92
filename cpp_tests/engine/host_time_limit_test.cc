// SPDX-License-Identifier: Apache-2.0
//
// A guest that does nothing but wait for the host is held to its time limit too.
#include "support/host_guest.hh"

#include <gtest/gtest.h>

#include <chrono>

namespace we = wasmengine;

namespace {

/// Answers pending, with a promise that is kept already.
wasm_callback_result wait_no_time(void*, wasm_call* call, const wasm_value*, wasm_value*) noexcept {
  wasm_promise* promise = nullptr;
  EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
  EXPECT_EQ(wasm_promise_resolve_values(promise, nullptr, 0, nullptr), WASM_STATUS_OK);
  wasm_promise_release(promise);
  return WASM_CALLBACK_RESULT_PENDING;
}

TEST(HostTimeLimit, EndsAGuestThatOnlyWaits) {
  wasm_runtime_config config{};
  config.record_time_limit_ns = 400'000'000;
  // So long that the guest never uses up a slice between two waits, where it would be measured anyway.
  config.time_slice_ns = 200'000'000;
  auto runtime = we::runtime::create(config).value();
  wasm_host_function function{};
  function.size = sizeof(function);
  function.module = we::as_slice("t");
  function.name = we::as_slice("wait");
  function.may_wait = 1;
  function.call = wait_no_time;
  ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &function, nullptr), WASM_STATUS_OK);
  auto compilation = runtime.compile(host_guest::module("h_endless_wait"), {"t", "in", {"out"}, {}}).value();
  we::drive(compilation).value();
  auto engine = we::engine::create(compilation.take().value()).value();
  auto started = engine.start().value();
  // The bound is there so that a limit that does not hold is a failure instead of a hang.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  for (;;) {
    auto polled = started.poll();
    if (!polled) {
      EXPECT_EQ(polled.err().status(), WASM_STATUS_GUEST_TIMEOUT);
      break;
    }
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
  }
}

}  // namespace
