// SPDX-License-Identifier: Apache-2.0
//
// Guests that call the host, host functions of the C ABI as lambdas, and a loop to run operations on.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace host_guest {

namespace we = wasmengine;
using bytes = std::vector<std::uint8_t>;

/// A module from cpp_tests/wat.
inline bytes module(std::string_view name) {
  const std::string path = std::string(WASM_ENGINE_TEST_WAT) + "/" + std::string(name) + ".wasm";
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A batch of records whose values are two numbers each.
inline bytes pairs(std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> records) {
  we::batch_config config;
  config.append_time.reset();
  auto builder = we::batch_builder::create(config).value();
  for (const auto& [a, b] : records) {
    std::array<char, 8> value{};
    std::memcpy(value.data(), &a, 4);
    std::memcpy(value.data() + 4, &b, 4);
    builder.add(1, we::payload{std::nullopt, std::string_view(value.data(), 8), {}}).value();
  }
  const auto batch = builder.finish().value();
  return {batch.begin(), batch.end()};
}

/// A host function of the C ABI.
using raw_function = std::function<wasm_callback_result(wasm_call*, const wasm_value*, wasm_value*)>;

struct raw_holder {
  raw_function function;
  std::atomic<int>* drops;
};

/// Counts in `drops` how often its data is dropped.
inline wasm_host_function raw_host_function(raw_function function, std::atomic<int>* drops, std::string_view name,
                                            std::span<const wasm_value_type> params,
                                            std::span<const wasm_value_type> results, bool may_wait) {
  wasm_host_function f{};
  f.size = sizeof(f);
  f.module = we::as_slice("t");
  f.name = we::as_slice(name);
  f.params = params.data();
  f.param_count = params.size();
  f.results = results.data();
  f.result_count = results.size();
  f.may_wait = may_wait ? 1 : 0;
  f.data = new raw_holder{std::move(function), drops};
  f.drop = [](void* data) {
    auto* h = static_cast<raw_holder*>(data);
    if (h->drops != nullptr) {
      ++*h->drops;
    }
    delete h;
  };
  f.call = [](void* data, wasm_call* call, const wasm_value* args, wasm_value* results) noexcept {
    return static_cast<raw_holder*>(data)->function(call, args, results);
  };
  return f;
}

constexpr std::array<wasm_value_type, 2> two_i32{WASM_VALUE_TYPE_I32, WASM_VALUE_TYPE_I32};
constexpr std::array<wasm_value_type, 1> one_i32{WASM_VALUE_TYPE_I32};

/// Counts what becomes of the wakers that it gives.
struct wakers {
  std::atomic<int> given{0};
  std::atomic<int> woken{0};
  std::atomic<int> dropped{0};

  wasm_waker give() {
    ++given;
    return {this, [](void* data) { ++static_cast<wakers*>(data)->woken; },
            [](void* data) { ++static_cast<wakers*>(data)->dropped; }};
  }
};

/// Polls until the operation does something else than yield, which it may do whenever the machine is busy.
inline we::result<wasm_poll> step(we::future& operation, wakers* wake = nullptr) {
  for (;;) {
    const auto waker = wake != nullptr ? wake->give() : wasm_waker{};
    auto polled = operation.poll(wake != nullptr ? &waker : nullptr);
    if (!polled || *polled != WASM_POLL_YIELDED) {
      return polled;
    }
    if (wake != nullptr) {
      --wake->given;
      --wake->dropped;
    }
  }
}

/// How an operation ended.
struct ending {
  wasm_status status;
  std::string message;
};

inline ending end_of(const we::result<void>& r) {
  return r ? ending{WASM_STATUS_OK, {}} : ending{r.err().status(), r.err().what()};
}

inline ending drive(we::result<we::future> begun) {
  if (!begun) {
    return {begun.err().status(), begun.err().what()};
  }
  return end_of(we::drive(*begun));
}

/// A runtime with `t.report`, which collects numbers, and what is added to it.
class world {
 public:
  explicit world(wasm_runtime_config config = {}) {
    runtime = we::runtime::create(config, [this](const we::log_line& l) {
                const std::lock_guard lock(_mutex);
                log.emplace_back(l.text);
              }).value();
  }

  /// `t.f`, (i32, i32) -> i32, and `t.report`.
  void add(raw_function f, bool may_wait) {
    // A compilation that was given up may drop it after the test.
    const auto kept = [f = std::move(f), keep = _drops](wasm_call* call, const wasm_value* args, wasm_value* results) {
      return f(call, args, results);
    };
    const auto raw = raw_host_function(kept, &drops, "f", two_i32, one_i32, may_wait);
    ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &raw, nullptr), WASM_STATUS_OK);
    add_report();
  }

  void add_report() {
    const auto raw = raw_host_function(
        [this](wasm_call*, const wasm_value* args, wasm_value*) {
          const std::lock_guard lock(_mutex);
          reported.push_back(args[0].i32);
          return WASM_CALLBACK_RESULT_DONE;
        },
        nullptr, "report", one_i32, {}, false);
    ASSERT_EQ(wasm_runtime_register_function(runtime.get(), &raw, nullptr), WASM_STATUS_OK);
  }

  we::result<we::factory> compile(std::string_view guest) {
    auto compilation = runtime.compile(module(guest), {"t", "in", {"out"}, {}});
    if (!compilation) {
      return compilation.err();
    }
    auto done = we::drive(*compilation);
    if (!done) {
      return done.err();
    }
    return compilation->take();
  }

  /// A started engine, also in `engine`.
  void start(std::string_view guest = "h_call") {
    factory = compile(guest).value();
    engine = we::engine::create(factory).value();
    const auto started = drive(engine.start());
    ASSERT_EQ(started.status, WASM_STATUS_OK) << started.message;
  }

  /// Begins to transform records; the batch lives as long as this.
  we::result<we::future> begin(std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> records) {
    batches.push_back(pairs(records));
    return engine.transform(batches.back(), sink);
  }

  ending call(std::uint32_t a, std::uint32_t b) { return drive(begin({{a, b}})); }

  /// Gives everything back but what tests hold.
  void close() {
    engine = {};
    factory = {};
    runtime = {};
  }

  struct ignore {
    void operator()(we::output_block) const {}
  };

 private:
  std::shared_ptr<std::atomic<int>> _drops = std::make_shared<std::atomic<int>>(0);

 public:
  std::vector<std::int32_t> reported;
  std::vector<std::string> log;
  std::atomic<int>& drops = *_drops;
  std::deque<bytes> batches;
  ignore sink;
  we::runtime runtime;
  we::factory factory;
  we::engine engine;

 private:
  std::mutex _mutex;
};

/// Owns a promise of the C ABI.
using owned_promise = we::handle<wasm_promise, wasm_promise_release>;

inline owned_promise take_promise(wasm_call* call) {
  owned_promise p;
  EXPECT_EQ(wasm_call_promise(call, p.out(), nullptr), WASM_STATUS_OK);
  return p;
}

inline wasm_status resolve(owned_promise& p, std::int32_t value) {
  const wasm_value v{.i32 = value};
  return wasm_promise_resolve_values(p.get(), &v, 1, nullptr);
}

/// A continuation as a lambda; counts its drops.
using raw_continuation = std::function<wasm_callback_result(wasm_call*, wasm_value*)>;

inline wasm_continuation continuation(raw_continuation run, std::atomic<int>* drops) {
  struct holder {
    raw_continuation run;
    std::atomic<int>* drops;
  };
  return {sizeof(wasm_continuation), new holder{std::move(run), drops},
          [](void* data) {
            auto* h = static_cast<holder*>(data);
            ++*h->drops;
            delete h;
          },
          [](void* data, wasm_call* call, wasm_value* results) noexcept -> wasm_callback_result {
            return static_cast<holder*>(data)->run(call, results);
          }};
}

/// A queue of work, and whoever calls `run_until` is its thread.
class loop {
 public:
  void post(void (*function)(void*) noexcept, void* argument) noexcept {
    const std::lock_guard lock(_mutex);
    ++posts;
    _queue.emplace_back(function, argument);
    _changed.notify_one();
  }

  /// False if `done` is not true before patience is at its end.
  template <typename F>
  bool run_until(F&& done, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!done()) {
      std::unique_lock lock(_mutex);
      if (!_changed.wait_until(lock, deadline, [this] { return !_queue.empty(); })) {
        return done();
      }
      const auto [function, argument] = _queue.front();
      _queue.pop_front();
      lock.unlock();
      ++runs;
      function(argument);
    }
    return true;
  }

  /// Runs the first that is there.
  void run_one() {
    const int before = runs;
    run_until([&] { return runs != before; });
  }

  /// Runs what is there now.
  void run_ready() {
    run_until([this] { return is_empty(); });
  }
  [[nodiscard]] bool is_empty() {
    const std::lock_guard lock(_mutex);
    return _queue.empty();
  }

  std::atomic<int> posts{0};
  int runs = 0;

 private:
  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<std::pair<void (*)(void*) noexcept, void*>> _queue;
};

static_assert(we::event_loop<loop>);

}  // namespace host_guest
