// SPDX-License-Identifier: Apache-2.0
#include "measurement.hh"

#include "../encoding.hh"
#include "../exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace tool {

namespace {

constexpr std::size_t most_records = 1000;       // of a batch
constexpr std::size_t most_bytes = 1U << 20;     // likewise
constexpr std::size_t least_bytes = 48;          // of a made value
constexpr int starts = 20;

std::chrono::nanoseconds thread_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

[[noreturn]] void fail(exit_code code, const wasmengine::error& e) {
  throw failure(code, fmt::format("{}: {}", e.status_name(), printable(e.what())));
}

void finish(wasmengine::future& operation) {
  if (const auto done = wasmengine::drive(operation); !done) {
    fail(exit_code::guest_failed, done.err());
  }
}

wasmengine::engine started(const wasmengine::factory& factory) {
  auto engine = wasmengine::engine::create(factory).value();
  auto starting = engine.start().value();
  finish(starting);
  return engine;
}

/// One time through all batches. Returns the records that came out.
std::uint64_t pass(wasmengine::engine& engine, const workload& w) {
  std::uint64_t out = 0;
  auto count = [&out](wasmengine::output_block block) { out += block.size(); };
  for (const auto& batch : w.batches) {
    auto transforming = engine.transform_and_poll(batch, count);
    if (!transforming) {
      fail(exit_code::guest_failed, transforming.err());
    }
    if (auto rest = std::move(transforming).value()) {
      finish(rest);
    }
  }
  return out;
}

double best_of(wasmengine::engine& engine, const workload& w, double seconds) {
  double best = 0;
  const auto begin = thread_time();
  do {
    const auto before = thread_time();
    (void)pass(engine, w);
    const auto each = static_cast<double>((thread_time() - before).count()) / static_cast<double>(w.records);
    best = best == 0 ? each : std::min(best, each);
  } while (std::chrono::duration<double>(thread_time() - begin).count() < seconds);
  return best;
}

}  // namespace

workload make_workload(std::string name, const std::vector<std::string>& values) {
  workload w{std::move(name), {}, values.size(), 0};
  auto builder = wasmengine::batch_builder::create().value();
  std::size_t records = 0;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (records != 0) {
      const auto batch = builder.finish().value();
      w.batches.emplace_back(batch.begin(), batch.end());
      builder.reset().value();
      records = bytes = 0;
    }
  };
  for (const auto& value : values) {
    if (records == most_records || bytes + value.size() > most_bytes) {
      flush();
    }
    builder.add(0, {std::nullopt, value, {}}).value();
    ++records;
    bytes += value.size();
    w.bytes += value.size();
  }
  flush();
  return w;
}

std::vector<std::string> made_values(std::uint64_t size) {
  const auto count = std::clamp<std::uint64_t>((4U << 20) / std::max<std::uint64_t>(size, 1), 16, 4000);
  std::vector<std::string> values;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto text = fmt::format(R"({{"id":{:06},"kind":"{}","text":")", i, i % 2 == 0 ? "a" : "b");
    const auto full = std::max<std::uint64_t>(size, least_bytes);
    while (text.size() + 2 < full) {
      text += static_cast<char>('a' + (text.size() + i) % 26);
    }
    values.push_back(text + "\"}");
  }
  return values;
}

measurement measure(std::span<const std::uint8_t> module, const wasmengine::transform_config& config,
                    const std::vector<workload>& workloads, std::uint64_t memory_limit, double seconds) {
  using clock = std::chrono::steady_clock;
  wasm_runtime_config settings{};
  settings.memory_limit = memory_limit;
  const auto runtime = wasmengine::runtime::create(settings, [](const wasmengine::log_line&) {}).value();
  measurement m;
  const auto begin = clock::now();
  auto compilation = runtime.compile(module, config).value();
  if (const auto done = wasmengine::drive(compilation); !done) {
    fail(exit_code::module_refused, done.err());
  }
  const auto factory = compilation.take().value();
  m.compile_time = clock::now() - begin;
  std::vector<std::chrono::nanoseconds> times;
  for (int i = 0; i < starts; ++i) {
    const auto before = clock::now();
    const auto engine = started(factory);
    times.push_back(clock::now() - before);
  }
  std::nth_element(times.begin(), times.begin() + starts / 2, times.end());
  m.start_time = times[starts / 2];
  auto engine = started(factory);
  for (const auto& w : workloads) {
    m.records_out.push_back(pass(engine, w));
    m.record_ns.push_back(best_of(engine, w, seconds));
  }
  m.memory = engine.memory_size().value();
  return m;
}

}  // namespace tool
