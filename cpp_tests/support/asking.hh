// SPDX-License-Identifier: Apache-2.0
//
// A guest that asks the host, for the adapters' tests; wat/t_later.wat says what its records make it do.
#pragma once

#include "support/bench.hh"

#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>

namespace testing_support {

/// What the guest asked: 21, to be answered with 42.
using answer = wasmengine::later<std::int64_t>;

/// A runtime with host.later, and the guest.
struct asking {
  template <typename F>
  explicit asking(F host_later, const wasm_runtime_config& config = {})
      : runtime(wasmengine::runtime::create(config).value()) {
    wasmengine::host_module host("host");
    host.add("later", std::move(host_later));
    runtime.add(host).value();
    factory = compile(runtime, "t_later");
  }

  [[nodiscard]] wasmengine::engine engine() const { return wasmengine::engine::create(factory).value(); }
  [[nodiscard]] wasmengine::engine started() const {
    auto e = engine();
    EXPECT_TRUE(succeeded(finish(e.start())));
    return e;
  }

  wasmengine::runtime runtime;
  wasmengine::factory factory;
};

/// Answers on a thread of its own.
class answering_thread {
 public:
  answering_thread() : _thread([this] { work(); }) {}
  ~answering_thread() {
    {
      const std::lock_guard lock(_mutex);
      _over = true;
    }
    _changed.notify_one();
    _thread.join();
  }
  answering_thread(const answering_thread&) = delete;
  answering_thread& operator=(const answering_thread&) = delete;

  void add(answer a) {
    {
      const std::lock_guard lock(_mutex);
      _asked.push_back(std::move(a));
    }
    _changed.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(_mutex);
    for (;;) {
      _changed.wait(lock, [this] { return _over || !_asked.empty(); });
      if (_asked.empty()) {
        return;
      }
      auto next = std::move(_asked.front());
      _asked.pop_front();
      lock.unlock();
      EXPECT_TRUE(next.resolve(std::int64_t{42}));
      lock.lock();
    }
  }

  std::mutex _mutex;
  std::condition_variable _changed;
  std::deque<answer> _asked;
  bool _over = false;
  std::thread _thread;
};

/// Keeps what was asked until the test answers.
struct unanswered {
  std::mutex mutex;
  std::vector<answer> all;

  void add(answer a) {
    const std::lock_guard lock(mutex);
    all.push_back(std::move(a));
  }
};

/// CPU time of this thread.
inline std::chrono::nanoseconds thread_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace testing_support
