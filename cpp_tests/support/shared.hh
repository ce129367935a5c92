// SPDX-License-Identifier: Apache-2.0
//
// Users of a shared engine, each with an operation that is polled only when it is worth it.
#pragma once

#include "custom.hh"

#include <deque>
#include <optional>

namespace testing_support {

/// A user with its operation. Stays where it is, because wakers point to it.
struct user {
  explicit user(const we::factory& f) : engine(we::engine::create_shared(f).value()) {}
  explicit user(we::engine e) : engine(std::move(e)) {}
  user(const user&) = delete;
  user& operator=(const user&) = delete;

  void start() { begin(engine.start()); }
  void transform(kafka::view batch, std::uint32_t from = 0) { begin(engine.transform_from(batch, from, out)); }
  void stop() {
    stopping = true;
    EXPECT_TRUE(succeeded(finish(engine.stop())));
    stopping = false;
  }
  void release() {
    stopping = true;
    engine = we::engine();
    stopping = false;
  }
  /// Gives the operation up.
  void cancel() {
    stopping = true;
    operation = we::future();
    stopping = false;
    end.reset();
    going_on = false;
  }

  /// One poll. True when the operation is over.
  bool poll() {
    EXPECT_TRUE(going_on);
    const wasm_waker waker{this,
                           [](void* self) {
                             auto* u = static_cast<user*>(self);
                             ++u->woken;
                             u->worth_polling = true;
                             if (u->on_wake) {
                               u->on_wake();
                             }
                           },
                           [](void* self) { ++static_cast<user*>(self)->dropped; }};
    worth_polling = false;
    ++polls;
    auto polled = operation.poll(&waker);
    last = polled ? *polled : WASM_POLL_READY;
    if (polled && *polled != WASM_POLL_READY) {
      pending += *polled == WASM_POLL_PENDING ? 1 : 0;
      worth_polling = worth_polling || *polled == WASM_POLL_YIELDED;
      return false;
    }
    end = polled ? std::nullopt : std::optional(polled.err());
    going_on = false;
    operation = we::future();
    return true;
  }
  /// Polls as long as it is worth it.
  bool run() {
    while (going_on && worth_polling) {
      poll();
    }
    return !going_on;
  }
  [[nodiscard]] bool ok() const { return !going_on && !end; }
  [[nodiscard]] wasm_status status() const { return end ? end->status() : WASM_STATUS_OK; }
  [[nodiscard]] wasm_engine_state state() const { return engine.state().value(); }

  we::engine engine;
  we::future operation;
  recorder out;
  std::function<void()> on_wake;
  std::optional<we::error> end;
  wasm_poll last = WASM_POLL_READY;
  bool going_on = false;
  bool worth_polling = false;
  bool stopping = false;
  int polls = 0, pending = 0, woken = 0, dropped = 0;

 private:
  void begin(we::result<we::future> begun) {
    ASSERT_TRUE(begun) << begun.err().what();
    operation = std::move(begun).value();
    end.reset();
    going_on = worth_polling = true;
  }
};

/// Users that stay where they are.
struct users : std::deque<user> {
  users(const we::factory& f, std::size_t count) {
    while (size() < count) {
      emplace_back(f);
    }
  }
  /// Polls who is worth it, in turn, until nobody is.
  void run() {
    for (bool again = true; again;) {
      again = false;
      for (auto& u : *this) {
        if (u.going_on && u.worth_polling) {
          u.poll();
          again = true;
        }
      }
    }
  }
  void start() {
    for (auto& u : *this) {
      u.start();
    }
    run();
    for (auto& u : *this) {
      EXPECT_TRUE(u.ok()) << u.end->what();
    }
  }
};

}  // namespace testing_support
