// SPDX-License-Identifier: Apache-2.0
//
// What the adapters for event loops have in common.
#pragma once

#include "future.hh"

#include <memory>
#include <mutex>
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
/// `post(spawned*)`, on any thread and without throwing, must have either `run` or `discard` called with that pointer,
/// once, later, on the future's thread; or `discard` at once, if the loop is closed. `Post` is copied. No copy is left
/// when `handler(outcome)` is called, on the future's thread, with no frame of the library below it.
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
      (*me->_post)(me.get());
    }
  }

  static void run(spawned* self) {
    const auto me = self->_self;
    me->await_post();
    bool is_over = true;
    if (wasm_task* task = std::exchange(me->_task, nullptr)) {
      auto ran = call([&](wasm_error** e) { return wasm_task_run(task, e); });
      if (!ran && ran.err().status() == WASM_STATUS_BUSY) {
        schedule(me.get(), task);  // One of the engine's own callbacks runs the loop: run the task later.
      } else if (!ran) {
        me->_outcome.emplace(ran.err());  // The loop does not run on the engine's thread.
        is_over = false;
      }
    } else {
      me->_self.reset();
    }
    if (me->_outcome) {
      Handler handler = std::move(*me->_handler);
      me->_handler.reset();
      if (is_over) {
        me->_post.reset();
      }
      std::move(handler)(std::move(*me->_outcome));
    }
  }

  /// Cancels the operation because the loop ends.
  static void discard(spawned* self) noexcept {
    const auto me = self->_self;
    me->await_post();
    if (wasm_task* task = std::exchange(me->_task, nullptr)) {
      (void)wasm_task_release(task, nullptr);  // Refused on another thread, where a leak is better.
    } else {
      me->_self.reset();
    }
    me->_handler.reset();
    me->_post.reset();
  }

  spawned(Post post, Handler handler) : _post(std::move(post)), _handler(std::move(handler)) {}

 private:
  static void schedule(void* data, wasm_task* task) noexcept {
    auto* me = static_cast<spawned*>(data);
    me->_task = task;
    // After the post another thread may run and free it.
    const auto posting = me->_posting;
    const std::lock_guard lock(*posting);
    const Post post = *me->_post;
    post(me);
  }

  /// The thread that woke the loop may still be inside of the loop's function. Whoever is told that the operation is
  /// over may let the loop go, so that thread must be out of it by then. Recursive, for a `discard` at once.
  void await_post() noexcept { const std::lock_guard lock(*_posting); }

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

  /// Gone at the end of the operation. The library lets go of the rest later, on any thread: the loop may be gone then.
  std::optional<Post> _post;
  std::shared_ptr<std::recursive_mutex> _posting = std::make_shared<std::recursive_mutex>();
  std::optional<Handler> _handler;
  std::optional<outcome> _outcome;
  wasm_task* _task = nullptr;
  std::shared_ptr<spawned> _self;  // Kept until the library does not need it any more.
};

}  // namespace detail

}  // namespace wasmengine
