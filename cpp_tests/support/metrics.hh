// SPDX-License-Identifier: Apache-2.0
//
// Metrics as the tests look at them.
#pragma once

#include "bench.hh"

#include <wasm_engine/metrics.hh>

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace testing_support {

namespace we = wasmengine;

/// A shard's numbers, kept beyond the snapshot.
struct numbers {
  wasm_transform_metrics raw{};
  std::map<wasm_status, std::uint64_t> errors;
  std::uint64_t observed = 0;  ///< Records in the latency histogram.

  explicit numbers(const we::transform_metrics& m) : raw(*m) {
    for (const auto& error : m.errors()) {
      errors[error.status] = error.count;
    }
    for (const auto& bucket : m.latency()) {
      observed += bucket.records;
    }
  }
};

using key = std::pair<std::string, std::uint32_t>;

inline std::map<key, numbers> all(const we::runtime& runtime) {
  const auto snapshot = we::metrics::create(runtime).value();
  std::map<key, numbers> out;
  for (const auto m : snapshot) {
    EXPECT_TRUE(out.emplace(key(m.transform(), m.shard()), numbers(m)).second) << "each series is there once";
  }
  return out;
}

inline numbers only(const we::runtime& runtime) {
  const auto found = all(runtime);
  EXPECT_EQ(found.size(), 1U);
  return found.at({"tested", 0});
}

inline std::uint64_t payload_bytes(const std::vector<std::string>& values) {
  return std::accumulate(values.begin(), values.end(), std::uint64_t{0}, [](std::uint64_t sum, const auto& value) {
    return sum + kafka::value(value).encode().size();
  });
}

/// Runs `f` on a thread that is prepared as this shard.
template <typename F>
void on_shard(const we::runtime& runtime, std::uint32_t shard, F f) {
  std::thread([&] {
    ASSERT_TRUE(we::prepare_thread(runtime, 0, shard));
    f();
  }).join();
}

inline void run(we::engine& engine, const std::vector<std::string>& values) {
  if (engine.state().value() == WASM_ENGINE_STATE_STOPPED) {
    ASSERT_TRUE(succeeded(finish(engine.start())));
  }
  recorder out;
  const auto batch = built(values);
  ASSERT_TRUE(succeeded(finish(engine.transform(batch, out))));
}

inline std::string text(const we::runtime& runtime) { return we::metrics_text(runtime).value(); }

}  // namespace testing_support
