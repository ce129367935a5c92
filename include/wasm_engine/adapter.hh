// SPDX-License-Identifier: Apache-2.0
//
// What the adapters for event loops have in common.
#pragma once

#include "future.hh"

#include <memory>
#include <optional>
#include <utility>

namespace wasmengine {

// How host.hh waits for the future that a host function returns. Adapters specialize it.
template <typename F>
struct async_traits;

namespace detail {

/// The result of an operation: `result<void>` or that of its `take()`.
template <typename Future>
struct outcome_of {
  using type = result<void>;
};
template <typename Future>
  requires requires(Future& f) { f.take(); }
struct outcome_of<Future> {
  using type = decltype(std::declval<Future&>().take());
};

/// The result of an operation that is ready.
template <typename Future>
[[nodiscard]] typename outcome_of<Future>::type take_outcome(Future& operation) noexcept {
  if constexpr (requires { operation.take(); }) {
    return operation.take();
  } else {
    return {};
  }
}

/// An operation that a loop drives through `wasm_future_spawn`.
///
/// `post(spawned*)` is called on any thread and must not throw. It must have either `run` or `discard` called with that
/// pointer once, later, on the future's thread. `Post` is copied. `handler(outcome)` is called and destroyed on the
/// future's thread with no frame of the library below it.
template <typename Future, typename Post, typename Handler>
class spawned {
 public:
  using outcome = typename outcome_of<Future>::type;

  /// On the future's thread.
  static void start(Future operation, Post post, Handler handler) {
    auto me = std::make_shared<spawned>(std::move(post), std::move(handler));
    me->_self = me;
    const wasm_executor executor{sizeof(executor), me.get(), drop, schedule};
    const wasm_completion completion{sizeof(completion), me.get(), nullptr, complete};
    auto begun =
        call([&](wasm_error** e) { return wasm_future_spawn(operation.get(), &executor, &completion, e); });
    if (begun) {
      (void)operation.release();
    } else {
      // Delivered through the loop like any other outcome because handlers do not expect a call from here.
      me->_outcome.emplace(begun.err());
      me->_self = me;
      me->_post(me.get());
    }
  }

  static void run(spawned* self) {
    const auto me = self->_self;
    if (wasm_task* task = std::exchange(me->_task, nullptr)) {
      auto ran = call([&](wasm_error** e) { return wasm_task_run(task, e); });
      if (!ran && ran.err().status() == WASM_STATUS_BUSY) {
        schedule(me.get(), task);  // One of the engine's own callbacks runs the loop: run the task later.
      } else if (!ran) {
        me->_outcome.emplace(ran.err());  // The loop does not run on the engine's thread.
      }
    } else {
      me->_self.reset();
    }
    if (me->_outcome) {
      Handler handler = std::move(*me->_handler);
      me->_handler.reset();
      std::move(handler)(std::move(*me->_outcome));
    }
  }

  /// Cancels the operation because the loop ends.
  static void discard(spawned* self) noexcept {
    const auto me = self->_self;
    if (wasm_task* task = std::exchange(me->_task, nullptr)) {
      (void)wasm_task_release(task, nullptr);  // Refused on another thread, where a leak is better.
    } else {
      me->_self.reset();
    }
    me->_handler.reset();
  }

  spawned(Post post, Handler handler) : _post(std::move(post)), _handler(std::move(handler)) {}

 private:
  static void schedule(void* data, wasm_task* task) noexcept {
    auto* me = static_cast<spawned*>(data);
    me->_task = task;
    // After the post another thread may run and free it.
    const Post post = me->_post;
    post(me);
  }

  static void complete(void* data, wasm_status status, wasm_error* raw_error, wasm_future* raw) noexcept {
    Future operation(raw);
    auto& out = static_cast<spawned*>(data)->_outcome;
    if (status == WASM_STATUS_OK) {
      out.emplace(take_outcome(operation));
    } else {
      out.emplace(error(status, raw_error));
    }
  }

  static void drop(void* data) noexcept { static_cast<spawned*>(data)->_self.reset(); }

  Post _post;
  std::optional<Handler> _handler;
  std::optional<outcome> _outcome;
  wasm_task* _task = nullptr;
  std::shared_ptr<spawned> _self;  // Kept until the library does not need it any more.
};

}  // namespace detail

}  // namespace wasmengine
