// SPDX-License-Identifier: Apache-2.0
//
// A host that does everything at once, at random: loops with engines of their own, threads that settle promises, one
// that uses the factory cache and reads metrics, and runtimes that come and go.
//
//   random_host LATER.wasm [--seconds N] [--seed N] [--loops N] [--engines N]
//
// `LATER.wasm` is wat/t_later.wat, which asks the host, traps or copies as its records say. What must hold at every
// step: a transform that succeeds has written its input, an operation that waits is woken, each waker is woken or
// dropped once, and a call that is refused says so with a status that fits. At the end nothing is left: no waker, no
// thread, no engine. Prints the seed and what was done.
#include "random/loop.hh"

#include <wasm_engine/factory_cache.hh>
#include <wasm_engine/metrics.hh>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace {

using namespace random_host;

/// What the cache and the metrics are good for while all else happens.
void look_on(const shared_world& worlds, std::uint64_t seed, const std::atomic<bool>& stop, counts& done) {
  std::mt19937_64 random(seed);
  while (!stop) {
    const auto world = worlds.get();
    const auto key = std::to_string(random() % 4);
    auto compilation = world->cache.get(key, world->module, {"cached" + key, "in", {"out"}, {}});
    if (compilation) {
      if (random() % 2 == 0) {
        must(we::drive(*compilation), "a compilation");
        auto engine = we::engine::create(must(compilation->take(), "a factory")).value();
        auto start = engine.start().value();
        must(we::drive(start), "a start");
      }  // Else the compilation is given up.
      done.add("cached");
    } else {
      fail("the cache", compilation.err());
    }
    if (random() % 4 == 0) {
      must(world->cache.collect(), "a collection");
      done.add("collected");
    }
    if (must(we::metrics_text(world->runtime), "metrics").empty()) {
      fail("metrics are empty");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2'000));
  }
}

std::size_t threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

std::uint64_t number(const char* text) { return std::strtoull(text, nullptr, 10); }

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seconds = 30;
  std::uint64_t seed = std::random_device{}();
  std::uint64_t loops = 4;
  std::uint64_t engines = 16;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    (name == "--seconds" ? seconds : name == "--seed" ? seed : name == "--loops" ? loops : engines) = number(argv[i + 1]);
  }
  std::ifstream file(argc > 1 ? argv[1] : "", std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  if (module.empty() || argc % 2 != 0) {
    std::fputs("usage: random_host LATER.wasm [--seconds N] [--seed N] [--loops N] [--engines N]\n", stderr);
    return 2;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);

  counts done;
  waker_counts wakers;
  {
    settlers promises(8, seed, done);
    shared_world worlds(module, promises);
    std::atomic<bool> stop{false};
    std::vector<std::thread> all;
    for (std::uint64_t i = 0; i < loops; ++i) {
      all.emplace_back([&, i] { loop(worlds, seed + i, engines, wakers, done).run(stop); });
    }
    all.emplace_back([&] { look_on(worlds, seed + 100, stop, done); });
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    std::mt19937_64 random(seed + 200);
    while (std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50 + random() % 200));
      worlds.renew(random() % 4);
      done.add("runtimes");
    }
    stop = true;
    for (auto& t : all) {
      t.join();
    }
  }
  // The library's threads end after the last that needs them.
  for (int i = 0; i < 500 && threads() > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  done.print();
  // Of what may be refused now and then, most succeeds.
  for (const char* what : {"starts", "transforms", "stops", "hot swaps", "cached", "promises resolved"}) {
    if (done[what] == 0) {
      fail(std::string("there were no ") + what);
    }
  }
  for (const char* what : {"refused: busy", "refused: invalid-state", "refused: cancelled", "refused: pool-exhausted"}) {
    if (done[what] > done["transforms"] / 10) {
      fail(std::string("too much was ") + what);
    }
  }
  if (threads() > 1) {
    fail("threads are left");
  }
  if (wakers.given != wakers.consumed) {
    fail("wakers are left");
  }
}
