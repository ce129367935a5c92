// SPDX-License-Identifier: Apache-2.0
//
// What the adapters for event loops have in common.
#pragma once

#include "future.hh"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

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

/// An operation on a loop. The loop's queue, the executor and those who cancel share it. Each calls it with a share.
class operation : public std::enable_shared_from_this<operation> {
 public:
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;
  virtual ~operation() = default;

  /// What a post is for. On the future's thread. Calls the handler at the end.
  virtual void run() = 0;
  /// A post that is never run. Cancels the operation without calling the handler.
  virtual void discard() noexcept = 0;
  /// Cancels without calling the handler. True if the operation has ended.
  virtual bool abandon() noexcept = 0;
  /// Cancels. The handler is called later with `WASM_STATUS_CANCELLED`. Nothing if the operation has completed. On the
  /// future's thread.
  virtual void cancel() noexcept = 0;

 protected:
  operation() = default;

 private:
  friend class operations;
  operation* _next = nullptr;
  operation* _previous = nullptr;
  std::atomic<bool> _linked = false;
};

/// The operations on a loop that have not ended. Any thread.
class operations {
 public:
  /// False if the loop is closed.
  [[nodiscard]] bool add(operation& o) noexcept {
    const std::lock_guard lock(_mutex);
    if (_closed) {
      return false;
    }
    link(o);
    return true;
  }

  void remove(operation& o) noexcept {
    if (o._linked) {
      const std::lock_guard lock(_mutex);
      unlink(o);
    }
  }

  /// The loop goes: abandons all. Those that refuse because their engine is busy are left for the next call.
  void close() noexcept {
    std::vector<std::shared_ptr<operation>> busy;
    for (;;) {
      std::shared_ptr<operation> o;
      {
        const std::lock_guard lock(_mutex);
        _closed = true;
        if (_first == nullptr) {
          break;
        }
        // One whose last owner is about to destroy it waits for the lock to remove itself.
        o = _first->weak_from_this().lock();
        unlink(*_first);
      }
      if (o && !o->abandon()) {
        busy.push_back(std::move(o));
      }
    }
    const std::lock_guard lock(_mutex);
    for (const auto& o : busy) {
      link(*o);
    }
  }

 private:
  void link(operation& o) noexcept {
    o._linked = true;
    o._next = _first;
    o._previous = nullptr;
    if (_first != nullptr) {
      _first->_previous = &o;
    }
    _first = &o;
  }

  void unlink(operation& o) noexcept {
    if (!o._linked) {
      return;
    }
    (o._previous != nullptr ? o._previous->_next : _first) = o._next;
    if (o._next != nullptr) {
      o._next->_previous = o._previous;
    }
    // The last access: whoever destroys it asks first.
    o._linked = false;
  }

  std::mutex _mutex;
  operation* _first = nullptr;
  bool _closed = false;
};

/// An operation that a loop drives through `wasm_future_spawn_abortable`.
///
/// `post(std::shared_ptr<operation>)`, on any thread and without throwing, must have either `run` or `discard` called
/// once, later, on the future's thread; or `discard` at once, if the loop is closed. No post is in progress and `Post`
/// is gone when `handler(outcome)` is called, on the future's thread, with no frame of the library below it.
template <typename Future, typename Post, typename Handler>
class spawned final : public operation {
 public:
  using outcome = typename outcome_of<Future>::type;

  /// On the future's thread. The handler is dropped at once if the loop is closed. Otherwise `before(operation)` is
  /// called first, while the handler is sure to live.
  template <typename Before>
  static std::shared_ptr<operation> start(Future future, Post post, Handler handler, std::shared_ptr<operations> all,
                                          Before before) {
    auto me = std::make_shared<spawned>(std::move(post), std::move(handler), std::move(all));
    if (!me->_all->add(*me)) {
      return me;
    }
    before(me);
    me->_self = me;
    const wasm_executor executor{sizeof(executor), me.get(), drop, schedule};
    const wasm_completion completion{sizeof(completion), me.get(), nullptr, complete};
    auto begun = call([&](wasm_error** e) {
      return wasm_future_spawn_abortable(future.get(), &executor, &completion, me->_handle.out(), e);
    });
    if (begun) {
      (void)future.release();
    } else {
      // Delivered through the loop like any other outcome because handlers do not expect a call from here.
      me->_outcome.emplace(begun.err());
      (*me->_post)(me);
    }
    return me;
  }

  static std::shared_ptr<operation> start(Future future, Post post, Handler handler, std::shared_ptr<operations> all) {
    return start(std::move(future), std::move(post), std::move(handler), std::move(all),
                 [](const std::shared_ptr<operation>&) noexcept {});
  }

  spawned(Post post, Handler handler, std::shared_ptr<operations> all)
      : _all(std::move(all)), _post(std::move(post)), _handler(std::move(handler)) {}
  ~spawned() override { _all->remove(*this); }

  void run() override {
    if (wasm_task* task = _task.exchange(nullptr)) {
      _running = true;
      auto ran = call([&](wasm_error** e) { return wasm_task_run(task, e); });
      _running = false;
      if (!ran && ran.err().status() == WASM_STATUS_BUSY) {
        schedule(this, task);  // One of the engine's own callbacks runs the loop: run the task later.
      } else if (!ran) {
        _outcome.emplace(ran.err());  // The loop does not run on the engine's thread. The task is lost.
      }
    }
    if (_is_cancelled && !_outcome) {
      cancel();
    }
    if (_outcome && _handler) {
      _all->remove(*this);
      Handler handler = std::move(*_handler);
      _handler.reset();
      _post.reset();
      std::move(handler)(std::move(*_outcome));
    }
  }

  void discard() noexcept override {
    (void)abandon();
    release_task();
  }

  bool abandon() noexcept override {
    const auto status = abort();
    if (status == WASM_STATUS_OK || status == WASM_STATUS_INVALID_STATE) {
      _all->remove(*this);
      _handler.reset();
      _post.reset();
      if (_closed) {
        release_task();  // It was not posted.
      }
      return true;
    }
    // The operation goes on and may be woken. The loop that would be told is gone.
    _closed = true;
    check_release(status, "future");
    return status != WASM_STATUS_BUSY;
  }

  void cancel() noexcept override {
    if (_outcome || !_handler) {
      return;
    }
    const auto status = abort();
    if (status == WASM_STATUS_OK) {
      _outcome.emplace(error(WASM_STATUS_CANCELLED));
    } else if (status == WASM_STATUS_BUSY) {
      _is_cancelled = true;  // Tried again when its engine's callbacks have returned.
    } else {
      return;
    }
    // A task that is queued or running brings the outcome along.
    if (_task == nullptr && !_running) {
      (*_post)(this->shared_from_this());
    }
  }

 private:
  [[nodiscard]] wasm_status abort() noexcept {
    return _handle ? wasm_task_handle_abort(_handle.get(), nullptr) : WASM_STATUS_INVALID_STATE;
  }

  void release_task() noexcept {
    if (wasm_task* task = _task.exchange(nullptr)) {
      const auto status = wasm_task_release(task, nullptr);
      if (status == WASM_STATUS_BUSY) {
        _task = task;  // The next `abandon` releases it.
      }
      check_release(status, "future");
    }
  }

  static void schedule(void* data, wasm_task* task) noexcept {
    auto* me = static_cast<spawned*>(data);
    me->_task = task;
    if (!me->_closed) {
      // The library waits for this before it ends the task. So `_post` and `_self` stay.
      (*me->_post)(me->_self);
    }
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

  static void drop(void* data) noexcept { (void)std::exchange(static_cast<spawned*>(data)->_self, nullptr); }

  const std::shared_ptr<operations> _all;
  std::optional<Post> _post;
  std::optional<Handler> _handler;
  std::optional<outcome> _outcome;
  handle<wasm_task_handle, wasm_task_handle_release> _handle;
  std::atomic<wasm_task*> _task = nullptr;
  bool _running = false;
  bool _is_cancelled = false;
  std::atomic<bool> _closed = false;
  std::shared_ptr<spawned> _self;  // Kept until the library does not need it any more.
};

}  // namespace detail

}  // namespace wasmengine
