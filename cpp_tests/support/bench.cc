// SPDX-License-Identifier: Apache-2.0
#include "bench.hh"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace testing_support {

kafka::bytes module(std::string_view name) {
  const bool is_wat = name.starts_with("t_") || name.starts_with("p_") || name.starts_with("h_") ||
                      name.starts_with("r_");
  const std::string directory = is_wat ? WASM_ENGINE_TEST_WAT : WASM_ENGINE_TEST_GUESTS;
  const std::string path = directory + "/" + std::string(name) + ".wasm";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("no guest at " + path);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

kafka::bytes built(const std::vector<std::string>& values, const wasmengine::batch_config& config) {
  auto builder = wasmengine::batch_builder::create(config).value();
  std::int64_t time = 1'700'000'000'000;
  for (const auto& v : values) {
    builder.add(time++, {std::nullopt, v, {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

wasmengine::transform_config with_topics(std::vector<std::string> topics) {
  return {"tested", "in", std::move(topics), {}};
}

wasmengine::factory compile(const wasmengine::runtime& rt, std::string_view guest,
                            const wasmengine::transform_config& transform) {
  auto compilation = rt.compile(module(guest), transform).value();
  waker_tally wakers;
  for (;;) {
    const auto waker = wakers.give();
    if (compilation.poll(&waker).value() == WASM_POLL_READY) {
      return compilation.take().value();
    }
    if (!wakers.wait(patience)) {
      throw std::runtime_error("the compilation of " + std::string(guest) + " was never woken");
    }
  }
}

bench::bench(std::string_view guest, const wasm_runtime_config& config, const wasmengine::transform_config& transform)
    : runtime(wasmengine::runtime::create(config, [l = log](const wasmengine::log_line& line) { l->add(line); }).value()),
      factory(compile(runtime, guest, transform)),
      engine(wasmengine::engine::create(factory).value()) {}

recorder bench::run(const std::vector<std::string>& values) {
  if (state() == WASM_ENGINE_STATE_STOPPED) {
    EXPECT_TRUE(succeeded(start()));
  }
  recorder out;
  EXPECT_TRUE(succeeded(transform(built(values), out)));
  return out;
}

testing::AssertionResult works(bench& b) {
  const auto got = b.run({"works?"}).values();
  if (got == std::vector<std::string>{"works?"}) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "the engine does not copy a record";
}

}  // namespace testing_support
