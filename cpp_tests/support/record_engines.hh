// SPDX-License-Identifier: Apache-2.0
//
// Engines with guests that copy records, for tests of expanded code.
#pragma once

#include "scripts.hh"

namespace record_calls {

/// Copies all records.
inline script copies() {
  script s;
  const auto first = s.read();
  s.write_last();
  s.unless_over(first);
  return s;
}

/// A batch for wat/p_guest.wat, which copies its values.
inline kafka::bytes values(std::size_t count, std::size_t size) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back("k1-" + std::to_string(i) + std::string(size, '.'));
  }
  return built(all);
}

/// Polls until it is pending or over.
inline wasm_poll until_pending(we::future& operation) {
  for (;;) {
    const auto polled = operation.poll();
    if (!polled) {
      ADD_FAILURE() << polled.err().what();
      return WASM_POLL_READY;
    }
    if (*polled != WASM_POLL_YIELDED) {
      return *polled;
    }
  }
}

inline we::future begin_with(we::engine& engine, kafka::view batch, c_sink& sink) {
  we::future operation;
  const auto raw = sink.raw();
  EXPECT_EQ(begin_transform(engine.get(), we::as_slice(batch), &raw, operation.out(), nullptr), WASM_STATUS_OK);
  return operation;
}

}  // namespace record_calls
