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
// Cancellation: stop or release the engine or `cancel` what `spawn` returns. The operation then completes with
//   WASM_STATUS_CANCELLED.
// Shutdown: the loop stays alive until `close`, which cancels all operations and drops their callbacks.
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

  /// An operation that was spawned. Copies refer to the same one. It goes on if they are dropped.
  class spawned {
   public:
    spawned() noexcept = default;
    /// Cancels the operation. Its callback is called later with WASM_STATUS_CANCELLED. Does nothing if the operation
    /// has completed or the loop is closed. On the loop's thread.
    void cancel() const noexcept {
      if (const auto o = _operation.lock()) {
        o->cancel();
      }
    }

   private:
    friend class libuv_loop;
    explicit spawned(const std::shared_ptr<detail::operation>& o) noexcept : _operation(o) {}
    std::weak_ptr<detail::operation> _operation;
  };

  /// Cancels the operations, whatever they wait for, drops their callbacks and the posted functions and closes the
  /// handle. The next iteration of the loop releases the handle. A second call does nothing. From a callback of an
  /// engine its own operation is cancelled when the callback has returned.
  void close() noexcept {
    // First, so that no other thread posts operations any more.
    _queue->operations->close();
    std::vector<item> rest;
    {
      const std::lock_guard lock(_queue->mutex);
      if (std::exchange(_queue->closed, true)) {
        return;
      }
      rest.swap(_queue->items);
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&_queue->async), closed);
    for (item& i : rest) {
      i.discard();
    }
  }

  /// Runs `function(argument)` once, later, on the loop's thread. If the loop is closed before, calls
  /// `discard(argument)` instead: on the loop's thread, from `close` or when the handle is released, or at once on the
  /// calling thread after that. Any thread.
  void post(void (*function)(void*) noexcept, void* argument, void (*discard)(void*) noexcept = nullptr) noexcept {
    _queue->push({nullptr, function, argument, discard});
  }

  /// Drives an operation to its end. Then calls `done` on the loop's thread with a `result<void>` or, for a
  /// `compilation`, with a `result<factory>`. An exception of `done` terminates the program because libuv is written in
  /// C.
  template <typename Future, typename F>
    requires std::derived_from<Future, future> && std::invocable<F, typename detail::outcome_of<Future>::type>
  spawned spawn(Future operation, F done) {
    return spawned(detail::spawned<Future, poster, F>::start(std::move(operation), poster{_queue}, std::move(done),
                                                             _queue->operations));
  }

 private:
  /// A post of an operation or a function.
  struct item {
    std::shared_ptr<detail::operation> operation;
    void (*function)(void*) noexcept;
    void* argument;
    void (*otherwise)(void*) noexcept;

    void run() noexcept {
      if (operation) {
        operation->run();
      } else {
        function(argument);
      }
    }
    void discard() noexcept {
      if (operation) {
        operation->discard();
      } else if (otherwise != nullptr) {
        otherwise(argument);
      }
    }
  };

  struct queue {
    uv_async_t async{};
    std::mutex mutex;
    std::vector<item> items;
    bool closed = false;
    bool released = false;  // The handle, some time after it was closed.
    const std::shared_ptr<detail::operations> operations = std::make_shared<detail::operations>();

    void push(item i) noexcept {
      {
        const std::lock_guard lock(mutex);
        if (!closed) {
          items.push_back(std::move(i));
          if (items.size() == 1) {
            uv_async_send(&async);  // Under the lock because it must not come after uv_close.
          }
          return;
        }
        // An operation whose engine was busy when the loop was closed is cancelled afterwards, on the loop's thread.
        if (i.operation) {
          return;
        }
        // So is a task that `close` could not release. The handle is not needed for that.
        if (!released) {
          items.push_back(std::move(i));
          return;
        }
      }
      i.discard();
    }
  };

  struct poster {
    std::shared_ptr<queue> to;
    void operator()(std::shared_ptr<detail::operation> o) const noexcept {
      to->push({std::move(o), nullptr, nullptr, nullptr});
    }
  };

  static void drain(uv_async_t* async) noexcept {
    const auto self = *static_cast<std::shared_ptr<queue>*>(async->data);
    std::vector<item> items;
    {
      const std::lock_guard lock(self->mutex);
      items.swap(self->items);
    }
    for (item& i : items) {
      // `closed` is written by this thread only.
      if (!self->closed) {
        i.run();
      } else {
        i.discard();
      }
    }
    if (self->closed) {
      self->operations->close();  // Those whose engines were busy.
    }
  }

  static void closed(uv_handle_t* async) noexcept {
    const std::unique_ptr<std::shared_ptr<queue>> owned(static_cast<std::shared_ptr<queue>*>(async->data));
    queue& self = **owned;
    std::vector<item> rest;
    {
      const std::lock_guard lock(self.mutex);
      self.released = true;
      rest.swap(self.items);
    }
    for (item& i : rest) {
      i.discard();
    }
    self.operations->close();  // Those whose engines were busy.
  }

  std::shared_ptr<queue> _queue;
};

}  // namespace wasmengine
