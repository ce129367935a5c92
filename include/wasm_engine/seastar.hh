// SPDX-License-Identifier: Apache-2.0
//
// Seastar: operations as `seastar::future`. Host functions and sinks may return one.
//
//   co_await wasmengine::as_future(engine.start().value());
//
// Shards: an engine belongs to the shard that made it. A runtime and a factory belong to no shard. Make the runtime
//   when the reactor runs because Seastar replaces signal handlers that it finds when it starts.
// Signals: Seastar blocks SIGFPE on every shard but the first. `prepare_shard` unblocks the signals of guests' traps.
// Alternate signal stacks: Seastar's stack of 13.5 KiB is too small for Wasmtime. Wasmtime replaces it by a larger one
//   on the first use of a shard. Seastar's handlers then run on that. The stall detector's handler runs on the current
//   stack, which may be a guest's. So `guest_stack_size` and `host_stack_size` should be several times 16 KiB.
// Fairness: a guest that used its time slice goes to the back of its scheduling group's queue. Seastar's
//   `--task-quota-ms`, 0.5 by default, is a good `time_slice_ns`. `--blocked-reactor-notify-ms` must be longer than
//   that.
// Cancellation: stop or release the engine. The awaited future then fails with WASM_STATUS_CANCELLED.
// Shutdown: as with every Seastar future, wait for operations in progress before the shard stops.
#pragma once

#include "adapter.hh"
#include "engine.hh"
#include "thread.hh"

#include <seastar/core/alien.hh>
#include <seastar/core/coroutine.hh>
#include <seastar/core/future.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/smp.hh>
#include <seastar/coroutine/exception.hh>
#include <seastar/util/later.hh>

#include <concepts>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace wasmengine {

/// Prepares a shard for guests of `runtime`. To be called on each shard before its first engine. `engines` as for
/// `prepare_thread`.
inline void prepare_shard(const runtime& runtime, std::uint64_t engines = 0) {
  prepare_thread(runtime, engines).value();
}

namespace detail {

/// Where one poll waits to be woken. Must stay in place until the waker has been consumed.
class seastar_waiter {
 public:
  [[nodiscard]] wasm_waker waker() noexcept { return {this, wake, wake}; }
  [[nodiscard]] seastar::future<> woken() noexcept { return _promise.get_future(); }

 private:
  // Also when the waker is dropped. Then either the poll was not pending and nothing waits or the engine was stopped
  // and another poll reports that.
  static void wake(void* data) noexcept {
    auto* me = static_cast<seastar_waiter*>(data);
    if (seastar::engine_is_ready() && seastar::this_shard_id() == me->_shard) {
      me->_promise.set_value();
    } else {
      seastar::alien::run_on(me->_instance, me->_shard, [me]() noexcept { me->_promise.set_value(); });
    }
  }

  seastar::promise<> _promise;
  seastar::alien::instance& _instance = seastar::engine().alien();
  unsigned _shard = seastar::this_shard_id();
};

template <typename Future>
using value_of = std::decay_t<decltype(std::declval<typename outcome_of<Future>::type>().value())>;

}  // namespace detail

/// Drives an operation to its end on the shard of its engine. Fails with `wasmengine::error`. A `compilation` returns
/// the factory. An operation that completes at the first poll returns a future that is ready.
template <typename Future>
  requires std::derived_from<Future, future>
seastar::future<detail::value_of<Future>> as_future(Future operation) {
  for (;;) {
    detail::seastar_waiter waiter;
    const wasm_waker waker = waiter.waker();
    auto polled = operation.poll(&waker);
    if (!polled) {
      co_await seastar::coroutine::return_exception_ptr(std::make_exception_ptr(polled.err()));
    } else if (*polled == WASM_POLL_PENDING) {
      co_await waiter.woken();
    } else if (*polled == WASM_POLL_YIELDED) {
      co_await seastar::yield();
    } else {
      break;
    }
  }
  auto outcome = detail::take_outcome(operation);
  if (!outcome) {
    co_await seastar::coroutine::return_exception_ptr(std::make_exception_ptr(outcome.err()));
  }
  if constexpr (!std::is_void_v<detail::value_of<Future>>) {
    co_return std::move(outcome).value();
  }
}

/// Host functions may return a `seastar::future`. Its failure ends the guest. Stopping the engine does not end what it
/// waits for: hold a gate.
template <typename T>
struct async_traits<seastar::future<T>> {
  using value_type = T;

  template <typename Done>
  static void then(seastar::future<T> later, Done done) {
    (void)std::move(later).then_wrapped([done = std::move(done)](seastar::future<T> over) mutable noexcept {
      done.finish([over = std::move(over)]() mutable -> T { return over.get(); });
    });
  }
};

/// A sink for `engine::transform` made from a function `seastar::future<>(output_block)`. Until the future resolves or
/// the engine is stopped, the guest does not run and the block can be read.
template <typename F>
  requires std::is_invocable_r_v<seastar::future<>, F&, output_block>
class seastar_sink {
 public:
  explicit seastar_sink(F function) : _function(std::move(function)) {}

  wasm_callback_result operator()(output_block block, output_call call) {
    seastar::future<> later = seastar::futurize_invoke(_function, block);
    if (later.available() && !later.failed()) {
      later.get();
      return WASM_CALLBACK_RESULT_DONE;
    }
    auto promise = call.later();
    if (!promise) {
      return WASM_CALLBACK_RESULT_FAILED;
    }
    (void)std::move(later).then_wrapped([p = std::move(promise).value()](seastar::future<> over) mutable noexcept {
      if (over.failed()) {
        try {
          over.get();
        } catch (const std::exception& e) {
          (void)p.reject(e.what());
        } catch (...) {
          // The promise is dropped unsettled, which counts as rejected.
        }
      } else {
        over.get();
        (void)p.resolve();
      }
    });
    return WASM_CALLBACK_RESULT_PENDING;
  }

 private:
  F _function;
};

}  // namespace wasmengine
