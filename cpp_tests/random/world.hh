// SPDX-License-Identifier: Apache-2.0
//
// What all threads of the random host share: counts, the threads that settle promises, and the current runtime.
#pragma once

#include <wasm_engine/factory_cache.hh>
#include <wasm_engine/thread.hh>
#include <wasm_engine/wasm_engine.hh>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace random_host {

namespace we = wasmengine;

/// Ends the process, so that a debugger or a core dump shows all threads as they are.
[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "random_host: %s\n", what.c_str());
  std::abort();
}

[[noreturn]] inline void fail(const std::string& what, const we::error& e) {
  fail(what + ": " + e.status_name() + ": " + e.what());
}

template <typename T>
T must(we::result<T> r, const char* what) {
  if (!r) {
    fail(what, r.err());
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(r).value();
  }
}

/// How often something was done. Any thread.
class counts {
 public:
  void add(const std::string& what) {
    const std::lock_guard lock(_mutex);
    ++_all[what];
  }
  [[nodiscard]] std::uint64_t operator[](const std::string& what) const {
    const auto found = _all.find(what);
    return found == _all.end() ? 0 : found->second;
  }
  void print() const {
    std::uint64_t sum = 0;
    for (const auto& [what, count] : _all) {
      std::printf("%10llu %s\n", static_cast<unsigned long long>(count), what.c_str());
      sum += count;
    }
    std::printf("%10llu in all\n", static_cast<unsigned long long>(sum));
  }

 private:
  std::mutex _mutex;
  std::map<std::string, std::uint64_t> _all;
};

/// A host function's answer to come, or the end of a sink's call.
using question = std::variant<we::later<std::int64_t>, we::promise>;

/// Threads that settle promises a little later: as they should, by refusing, or by dropping them.
class settlers {
 public:
  settlers(int threads, std::uint64_t seed, counts& done) : _done(done) {
    for (int i = 0; i < threads; ++i) {
      _threads.emplace_back([this, seed, i] { work(seed + 1'000 + static_cast<std::uint64_t>(i)); });
    }
  }
  ~settlers() {
    {
      const std::lock_guard lock(_mutex);
      _over = true;
    }
    _changed.notify_all();
    for (auto& t : _threads) {
      t.join();
    }
  }
  settlers(const settlers&) = delete;
  settlers& operator=(const settlers&) = delete;

  void add(question q) {
    {
      const std::lock_guard lock(_mutex);
      _asked.push_back(std::move(q));
    }
    _changed.notify_one();
  }

 private:
  void work(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::unique_lock lock(_mutex);
    for (;;) {
      _changed.wait(lock, [this] { return _over || !_asked.empty(); });
      if (_asked.empty()) {
        return;
      }
      auto next = std::move(_asked.front());
      _asked.pop_front();
      lock.unlock();
      if (random() % 2 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
      }
      const auto how = random() % 20;
      const auto settled = how == 0 ? we::result<void>() : std::visit([&](auto& q) { return settle(q, how == 1); }, next);
      // The guest may be gone. Then the answer is dropped, which is no error.
      if (!settled) {
        fail("a promise", settled.err());
      }
      _done.add(how == 0 ? "promises dropped" : how == 1 ? "promises rejected" : "promises resolved");
      next = we::promise();
      lock.lock();
    }
  }

  static we::result<void> settle(we::later<std::int64_t>& answer, bool rejects) {
    return rejects ? answer.reject("no") : answer.resolve(std::int64_t{42});
  }
  static we::result<void> settle(we::promise& call, bool rejects) { return rejects ? call.reject("no") : call.resolve(); }

  counts& _done;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<question> _asked;
  bool _over = false;
  std::vector<std::thread> _threads;
};

/// A runtime and what was made with it.
struct world {
  world(const std::vector<std::uint8_t>& wasm, settlers& s, wasm_memory_mode mode) : module(wasm), promises(s) {
    wasm_runtime_config config{};
    config.memory_mode = mode;
    config.pool_engines = mode == WASM_MEMORY_MODE_PROCESS_POOL ? 200 : 0;
    config.time_slice_ns = 200'000;
    runtime = must(we::runtime::create(config), "a runtime");
    we::host_module host("host");
    host.add("later", [this](std::int64_t, we::later<std::int64_t> answer) { promises.add(std::move(answer)); });
    must(runtime.add(host), "a host function");
    for (auto& f : factories) {
      auto compilation = must(runtime.compile(module, {"random", "in", {"out"}, {}}), "a compilation");
      must(we::drive(compilation), "a compilation");
      f = must(compilation.take(), "a factory");
    }
    cache = must(we::factory_cache::create(runtime), "a cache");
  }
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  const std::vector<std::uint8_t>& module;
  settlers& promises;
  we::runtime runtime;
  we::factory factories[2];
  we::factory_cache cache;
};

/// The current world. Engines of earlier ones may still be there.
class shared_world {
 public:
  shared_world(const std::vector<std::uint8_t>& module, settlers& s) : _module(module), _settlers(s) { renew(0); }

  [[nodiscard]] std::shared_ptr<world> get() const {
    const std::lock_guard lock(_mutex);
    return _world;
  }
  void renew(std::uint64_t mode) {
    // Engines need no preparation of their thread in these. HOST wants an allocator.
    static constexpr wasm_memory_mode modes[] = {WASM_MEMORY_MODE_ON_DEMAND, WASM_MEMORY_MODE_PROCESS_POOL};
    auto next = std::make_shared<world>(_module, _settlers, modes[mode % 2]);
    const std::lock_guard lock(_mutex);
    _world.swap(next);
  }
  [[nodiscard]] settlers& promises() const { return _settlers; }

 private:
  const std::vector<std::uint8_t>& _module;
  settlers& _settlers;
  mutable std::mutex _mutex;
  std::shared_ptr<world> _world;
};

}  // namespace random_host
