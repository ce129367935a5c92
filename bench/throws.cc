// SPDX-License-Identifier: Apache-2.0
//
// What live engines cost the exceptions of other threads: throws per second on 16 threads without the library and with
// 100 engines from 20 factories, in turn in one run.
//
//   bench-throws GUEST.wasm
#include "wasm_engine/wasm_engine.hh"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

namespace we = wasmengine;

namespace {

constexpr int threads = 16;
constexpr int factories = 20;
constexpr int engines = 100;
constexpr int rounds = 9;
constexpr std::chrono::milliseconds round_time{500};

/// Frames to unwind. Each has something to destroy.
int deep(int depth) {
  std::vector<int> some(8, depth);
  if (depth == 0) {
    throw std::runtime_error("bench");
  }
  return deep(depth - 1) + some[3];
}

/// Throws per second of all threads together.
double throws_per_second() {
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> all{0};
  std::vector<std::thread> running;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      std::uint64_t mine = 0;
      while (!over.load(std::memory_order_relaxed)) {
        try {
          mine += deep(8) == 0 ? 1 : 0;
        } catch (const std::runtime_error&) {
          ++mine;
        }
      }
      all += mine;
    });
  }
  std::this_thread::sleep_for(round_time);
  over = true;
  for (auto& thread : running) {
    thread.join();
  }
  return static_cast<double>(all) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

struct population {
  explicit population(std::span<const std::uint8_t> module) : runtime(we::runtime::create().value()) {
    for (int i = 0; i < factories; ++i) {
      auto compiling = runtime.compile(module, {"bench", "in", {"out"}, {}}).value();
      we::drive(compiling).value();
      made.push_back(compiling.take().value());
    }
    for (int i = 0; i < engines; ++i) {
      running.push_back(we::engine::create(made[static_cast<std::size_t>(i % factories)]).value());
      auto starting = running.back().start().value();
      we::drive(starting).value();
    }
  }

  we::runtime runtime;
  std::vector<we::factory> made;
  std::vector<we::engine> running;
};

double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench-throws GUEST.wasm\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  std::vector<double> without;
  std::vector<double> with;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    without.push_back(throws_per_second());
    const population all(module);
    with.push_back(throws_per_second());
    ratios.push_back(with.back() / without.back());
  }
  std::printf("throws per second, %d threads, median of %d rounds\n", threads, rounds);
  std::printf("%-36s %12.0f\n", "without engines", median(without));
  std::printf("%-36s %12.0f\n", "with 100 engines from 20 factories", median(with));
  std::printf("%-36s %12.3f\n", "with / without", median(ratios));
  return 0;
}
