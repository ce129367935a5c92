// SPDX-License-Identifier: Apache-2.0
//
// A sink for the C ABI: it counts its drops, and does what a function says.
#pragma once

#include "begin_transform.hh"
#include "bench.hh"

#include <functional>

namespace testing_support {

struct c_sink {
  using function = std::function<wasm_callback_result(output_block, wasm_call*)>;

  explicit c_sink(function f) : on_records(std::move(f)) {}

  [[nodiscard]] wasm_output_sink raw() {
    return {sizeof(wasm_output_sink), this, [](void* self) { static_cast<c_sink*>(self)->dropped(); },
            [](void* self, const wasm_output_record* records, std::size_t count, wasm_call* call) {
              auto* me = static_cast<c_sink*>(self);
              EXPECT_EQ(me->drops, 0) << "no call after the drop";
              EXPECT_GT(count, 0U);
              ++me->calls;
              return me->on_records({records, count}, call);
            },
            nullptr};
  }
  void dropped() {
    ++drops;
    if (on_drop) {
      on_drop();
    }
  }

  function on_records;
  std::function<void()> on_drop;
  int calls = 0;
  int drops = 0;
};

/// A sink that keeps its promises: it answers pending, and leaves promise and block to the test.
struct pending_sink : c_sink {
  pending_sink()
      : c_sink([this](output_block b, wasm_call* call) -> wasm_callback_result {
          block = b;
          EXPECT_EQ(wasm_call_promise(call, &promise, nullptr), WASM_STATUS_OK);
          return WASM_CALLBACK_RESULT_PENDING;
        }) {}
  ~pending_sink() { wasm_promise_release(promise); }
  pending_sink(const pending_sink&) = delete;
  pending_sink& operator=(const pending_sink&) = delete;

  /// Settles the promise, and is done with it.
  void resolve() {
    EXPECT_EQ(wasm_promise_resolve(promise, nullptr), WASM_STATUS_OK);
    wasm_promise_release(std::exchange(promise, nullptr));
  }

  output_block block;
  wasm_promise* promise = nullptr;
};

/// Begins a transform with a C sink.
inline wasmengine::future begin(bench& b, kafka::view batch, c_sink& sink) {
  wasmengine::future operation;
  const auto raw = sink.raw();
  EXPECT_EQ(begin_transform(b.engine.get(), wasmengine::as_slice(batch), &raw, operation.out(), nullptr),
            WASM_STATUS_OK);
  return operation;
}

}  // namespace testing_support
