// SPDX-License-Identifier: Apache-2.0
//
// libuv: an event loop for engines. libuv 1.x.
//
//   wasmengine::libuv_loop on(loop);
//   on.spawn(engine.start().value(), [](wasmengine::result<void> done) { … });
//
// Threads: made, used, closed and destroyed on the loop's thread, where the engines live. Only `post` may be called on
//   any thread.
// Fairness: what is posted while the queue is being run waits for the next iteration of the loop, after timers and I/O.
// Cancellation: stop or release the engine. The operation then completes with WASM_STATUS_CANCELLED.
// Shutdown: the loop stays alive until `close`, which cancels what is queued. Release the engines before.
#pragma once

#include "adapter.hh"

#include <uv.h>

#include <concepts>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

namespace wasmengine {

/// Runs functions and operations on a libuv loop. One `uv_async_t` wakes it.
class libuv_loop {
 public:
  /// Adds a handle to `loop`. The loop must run until the handle is closed.
  explicit libuv_loop(uv_loop_t* loop) : _queue(std::make_shared<queue>()) {
    if (const int status = uv_async_init(loop, &_queue->async, drain); status != 0) {
      throw std::system_error(-status, std::generic_category(), "uv_async_init");
    }
    _queue->async.data = new std::shared_ptr<queue>(_queue);
  }
  libuv_loop(libuv_loop&&) = delete;
  ~libuv_loop() { close(); }

  /// Cancels the queued operations, drops the functions and closes the handle. The next iteration of the loop releases
  /// the handle. A second call does nothing.
  void close() noexcept {
    std::vector<item> rest;
    {
      const std::lock_guard lock(_queue->mutex);
      if (std::exchange(_queue->closed, true)) {
        return;
      }
      rest.swap(_queue->items);
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&_queue->async), closed);
    for (const item& i : rest) {
      i.discard(i.argument);
    }
  }

  /// Runs `function(argument)` once, later, on the loop's thread. Never if the loop is closed before. Any thread.
  void post(void (*function)(void*) noexcept, void* argument) noexcept {
    (void)_queue->push({function, argument, [](void*) noexcept {}});
  }

  /// Drives an operation to its end. Then calls `done` on the loop's thread with a `result<void>` or, for a
  /// `compilation`, with a `result<factory>`. An exception of `done` terminates the program because libuv is written in
  /// C.
  template <typename Future, typename F>
    requires std::derived_from<Future, future> && std::invocable<F, typename detail::outcome_of<Future>::type>
  void spawn(Future operation, F done) {
    detail::spawned<Future, poster, F>::start(std::move(operation), poster{_queue}, std::move(done));
  }

 private:
  struct item {
    void (*run)(void*) noexcept;
    void* argument;
    void (*discard)(void*) noexcept;
  };

  struct queue {
    uv_async_t async{};
    std::mutex mutex;
    std::vector<item> items;
    bool closed = false;

    /// False if the loop is closed.
    [[nodiscard]] bool push(const item& i) noexcept {
      const std::lock_guard lock(mutex);
      if (closed) {
        return false;
      }
      items.push_back(i);
      if (items.size() == 1) {
        uv_async_send(&async);  // Under the lock because it must not come after uv_close.
      }
      return true;
    }
  };

  struct poster {
    std::shared_ptr<queue> to;

    template <typename Spawned>
    void operator()(Spawned* operation) const noexcept {
      const item i{[](void* s) noexcept { Spawned::run(static_cast<Spawned*>(s)); }, operation,
                   [](void* s) noexcept { Spawned::discard(static_cast<Spawned*>(s)); }};
      if (!to->push(i)) {
        i.discard(operation);
      }
    }
  };

  static void drain(uv_async_t* async) noexcept {
    const auto self = *static_cast<std::shared_ptr<queue>*>(async->data);
    std::vector<item> items;
    {
      const std::lock_guard lock(self->mutex);
      items.swap(self->items);
    }
    for (const item& i : items) {
      // `closed` is written by this thread only.
      (self->closed ? i.discard : i.run)(i.argument);
    }
  }

  static void closed(uv_handle_t* async) noexcept { delete static_cast<std::shared_ptr<queue>*>(async->data); }

  std::shared_ptr<queue> _queue;
};

}  // namespace wasmengine
