// SPDX-License-Identifier: Apache-2.0
//
// Transforms that begin and are polled in one call.
#include "support/asking.hh"
#include "support/bench.hh"
#include "support/c_sink.hh"
#include "support/driver.hh"

#include <gmock/gmock.h>

#include <csignal>
#include <optional>

using namespace testing_support;
using wasmengine::future;

namespace {

/// What one call of `wasm_engine_transform_at_once` gave.
struct attempt {
  attempt(wasm_engine* engine, const std::vector<std::uint8_t>& batch, recorder& out, const wasm_waker* waker = nullptr) {
    auto sink = c_sink(out, drops);
    wasm_error* why = nullptr;
    status = wasm_engine_transform_at_once(engine, {batch.data(), batch.size()}, 0, &sink, waker, &state, &raw, &why);
    error.reset(why);
    owned = future(status == WASM_STATUS_OK ? raw : nullptr);
  }
  int drops = 0;
  wasm_status status;
  wasm_poll state = static_cast<wasm_poll>(77);
  wasm_future* raw = reinterpret_cast<wasm_future*>(77);
  std::unique_ptr<wasm_error, decltype(&wasm_error_release)> error{nullptr, wasm_error_release};
  future owned;
};

}  // namespace
