// SPDX-License-Identifier: Apache-2.0
//
// Drives futures the way a well-behaved event loop does: it never polls a pending future before it was woken.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

namespace testing_support {

/// Counts what becomes of wakers, and lets a thread wait for one.
class waker_tally {
 public:
  waker_tally() = default;
  waker_tally(const waker_tally&) = delete;
  waker_tally& operator=(const waker_tally&) = delete;

  /// A waker to be given to one poll.
  wasm_waker give() {
    const std::lock_guard lock(_mutex);
    ++_given;
    return {new ticket{this}, wake, drop};
  }

  /// Waits until a waker was woken that `taken` has not counted yet.
  bool wait(std::chrono::seconds limit) {
    std::unique_lock lock(_mutex);
    const bool got = _changed.wait_for(lock, limit, [this] { return _woken > _taken; });
    _taken += got ? 1 : 0;
    return got;
  }

  [[nodiscard]] int given() const { return read(_given); }
  [[nodiscard]] int woken() const { return read(_woken); }
  [[nodiscard]] int dropped() const { return read(_dropped); }
  /// Wakers that are neither woken nor dropped yet.
  [[nodiscard]] int alive() const {
    const std::lock_guard lock(_mutex);
    return _given - _woken - _dropped;
  }

 private:
  // Freed by whichever callback comes; a second one is a use after free, which the sanitizer sees.
  struct ticket {
    waker_tally* tally;
  };
  int read(const int& what) const {
    const std::lock_guard lock(_mutex);
    return what;
  }
  void count(int& what) {
    const std::lock_guard lock(_mutex);
    ++what;
    _changed.notify_all();
  }
  static void wake(void* data) {
    auto* t = static_cast<ticket*>(data);
    t->tally->count(t->tally->_woken);
    delete t;
  }
  static void drop(void* data) {
    auto* t = static_cast<ticket*>(data);
    t->tally->count(t->tally->_dropped);
    delete t;
  }

  mutable std::mutex _mutex;
  std::condition_variable _changed;
  int _given = 0;
  int _woken = 0;
  int _dropped = 0;
  int _taken = 0;
};

/// How an operation ended, and how often it was polled.
struct outcome {
  wasm_status status = WASM_STATUS_OK;
  std::optional<wasmengine::error> why = std::nullopt;
  int polls = 0;
  int yields = 0;
  int pendings = 0;

  [[nodiscard]] std::string message() const { return why ? why->what() : ""; }
};

constexpr std::chrono::seconds patience{60};

/// Polls until the operation is over. Waits when it is pending, and fails the test if nothing ever wakes it.
inline outcome finish(wasmengine::future& operation) {
  outcome out;
  waker_tally wakers;
  const auto begun = std::chrono::steady_clock::now();
  for (;;) {
    const wasm_waker waker = wakers.give();
    auto polled = operation.poll(&waker);
    ++out.polls;
    if (!polled) {
      out.status = polled.err().status();
      out.why = polled.err();
      break;
    }
    if (*polled == WASM_POLL_READY) {
      break;
    }
    if (*polled == WASM_POLL_YIELDED) {
      ++out.yields;
      EXPECT_EQ(wakers.alive(), 0) << "a poll that yields drops its waker";
      std::this_thread::yield();
    } else {
      ++out.pendings;
      if (!wakers.wait(patience)) {
        ADD_FAILURE() << "a pending operation was never woken";
        break;
      }
    }
    if (std::chrono::steady_clock::now() - begun > patience) {
      ADD_FAILURE() << "the operation does not end";
      break;
    }
  }
  operation = wasmengine::future();
  EXPECT_EQ(wakers.alive(), 0) << "each waker is woken or dropped, once";
  EXPECT_EQ(wakers.woken(), out.pendings) << "a waker is woken only if its poll was pending";
  return out;
}

/// The same for an operation whose beginning may have failed already.
template <typename F>
outcome finish(wasmengine::result<F> begun) {
  if (!begun) {
    outcome out;
    out.status = begun.err().status();
    out.why = begun.err();
    return out;
  }
  return finish(*begun);
}

inline testing::AssertionResult succeeded(const outcome& o) {
  if (o.status == WASM_STATUS_OK) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << wasm_status_name(o.status) << ": " << o.message();
}

}  // namespace testing_support
