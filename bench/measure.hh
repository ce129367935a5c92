// SPDX-License-Identifier: Apache-2.0
//
// What the benchmarks share.
#pragma once

#include "wasm_engine/wasm_engine.hh"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

namespace we = wasmengine;
using bytes = std::vector<std::uint8_t>;

constexpr int rounds = 7;
constexpr double seconds_per_round = 0.25;

struct shape {
  int records;
  std::size_t value_size;
};

inline bytes read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path);
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

inline bytes make_batch(shape s) {
  auto builder = we::batch_builder::create().value();
  const std::string value(s.value_size, 'x');
  for (int i = 0; i < s.records; ++i) {
    builder.add(i, we::payload{std::nullopt, value, {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The last part of a path.
inline std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// Nanoseconds per call of `f`, which is called for about a round's time.
template <typename F>
double time_of(F&& f) {
  using clock = std::chrono::steady_clock;
  std::size_t calls = 0;
  const auto start = clock::now();
  double elapsed = 0;
  do {
    for (int i = 0; i < 16; ++i, ++calls) {
      f();
    }
    elapsed = std::chrono::duration<double>(clock::now() - start).count();
  } while (elapsed < seconds_per_round);
  return elapsed * 1e9 / static_cast<double>(calls);
}

/// Nanoseconds per record of a batch through an engine. Every record must come out again.
inline double time_guest(we::engine& engine, const bytes& batch, int records) {
  std::size_t count = 0;
  auto sink = [&](we::output_block block) { count += block.size(); };
  const double ns = time_of([&] {
    count = 0;
    auto operation = engine.transform(batch, sink).value();
    we::drive(operation).value();
    if (count != static_cast<std::size_t>(records)) {
      std::fprintf(stderr, "%zu records came out of %d\n", count, records);
      std::exit(1);
    }
  });
  return ns / records;
}

/// An engine of a new factory, started.
inline we::engine started(const we::runtime& runtime, const char* path) {
  auto compilation = runtime.compile(read_file(path), {"bench", "in", {"out"}, {}}).value();
  we::drive(compilation).value();
  auto engine = we::engine::create(compilation.take().value()).value();
  auto start = engine.start().value();
  we::drive(start).value();
  return engine;
}

}  // namespace bench
