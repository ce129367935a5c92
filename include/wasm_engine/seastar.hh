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
// Cancellation: stop or release the engine. The awaited future then fails with WASM_STATUS_CANCELLED. Or pass an
//   `abort_source` or a deadline. The operation is then cancelled, which stops its engine, and the batch is free. Note
//   that `seastar::with_timeout` around a future only stops waiting. Use `wasmengine::with_timeout`.
// Shutdown: as with every Seastar future, wait for operations in progress before the shard stops. What still waits when
//   the reactor ends, such as a compilation, is cancelled and fails with WASM_STATUS_CANCELLED.
// Standard: that of Seastar's users, C++20 or later.
#pragma once

#include "adapter.hh"
#include "engine.hh"
#include "thread.hh"

#include <seastar/core/abort_source.hh>
#include <seastar/core/alien.hh>
#include <seastar/core/coroutine.hh>
#include <seastar/core/future.hh>
#include <seastar/core/loop.hh>
#include <seastar/core/reactor.hh>
#include <seastar/core/smp.hh>
#include <seastar/core/temporary_buffer.hh>
#include <seastar/core/timed_out_error.hh>
#include <seastar/core/timer.hh>
#include <seastar/coroutine/exception.hh>
#include <seastar/util/later.hh>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace wasmengine {

/// Prepares a shard for guests of `runtime`. To be called on each shard before its first engine. `engines` as for
/// `prepare_thread`. Metrics and log lines of the shard's engines have its number.
inline void prepare_shard(const runtime& runtime, std::uint64_t engines = 0) {
  prepare_thread(runtime, engines, seastar::this_shard_id()).value();
}

/// When an operation is to be given up: by an `abort_source`, which must outlive the operation, or at a time.
class until {
 public:
  using time_point = seastar::timer<>::time_point;

  until() noexcept = default;
  until(seastar::abort_source& source) noexcept : _source(&source) {}  // NOLINT: implicit on purpose
  until(time_point deadline) noexcept : _deadline(deadline) {}         // NOLINT
  until(seastar::abort_source& source, time_point deadline) noexcept : _source(&source), _deadline(deadline) {}

  [[nodiscard]] seastar::abort_source* source() const noexcept { return _source; }
  [[nodiscard]] std::optional<time_point> deadline() const noexcept { return _deadline; }

 private:
  seastar::abort_source* _source = nullptr;
  std::optional<time_point> _deadline;
};

namespace detail {

/// The way to a shard for threads that wake it. Closed when its reactor ends.
struct seastar_way {
  seastar::alien::instance& instance = seastar::engine().alien();
  const unsigned shard = seastar::this_shard_id();
  std::atomic<bool> open = true;
  std::atomic<int> inside = 0;

  /// Runs `f` on the shard. False if the way is closed. Any thread.
  template <typename F>
  [[nodiscard]] bool run(F f) noexcept {
    // Who closes the way waits for those who found it open.
    ++inside;
    const bool is_open = open;
    if (is_open) {
      seastar::alien::run_on(instance, shard, std::move(f));
    }
    --inside;
    return is_open;
  }
};

/// An operation that waits on a shard. Its wakers own references.
class seastar_operation {
 public:
  seastar_operation(const seastar_operation&) = delete;
  seastar_operation& operator=(const seastar_operation&) = delete;

  /// Waits on this shard. The caller owns a reference and calls `end`.
  [[nodiscard]] static seastar_operation* begin() {
    auto* me = new seastar_operation();
    auto& all = waiting_here();
    me->_way = all.way;
    me->_next = std::exchange(all.first, me);
    if (me->_next != nullptr) {
      me->_next->_previous = me;
    }
    if (!all.way->open) {
      me->cancel(std::make_exception_ptr(error(WASM_STATUS_CANCELLED)));
    }
    return me;
  }

  /// Lets go of the operation. Its wakers may come later.
  void end() noexcept {
    auto& all = waiting_here();
    if (_previous != nullptr || all.first == this) {
      (_previous != nullptr ? _previous->_next : all.first) = _next;
      if (_next != nullptr) {
        _next->_previous = _previous;
      }
    }
    release();
  }

  /// For the next poll.
  [[nodiscard]] wasm_waker waker() noexcept {
    _woken = false;
    ++_references;
    return {this, wake, wake};
  }

  /// Ready when the last waker was woken or dropped or the operation is to be given up.
  [[nodiscard]] seastar::future<> woken() noexcept {
    if (_woken || _why) {
      return seastar::make_ready_future<>();
    }
    _waits.emplace();
    return _waits->get_future();
  }

  /// Gives the operation up. On its shard.
  void cancel(std::exception_ptr why) noexcept {
    if (!_why) {
      _why = std::move(why);
      resume();
    }
  }
  /// Why the operation is to be given up, if it is.
  [[nodiscard]] const std::exception_ptr& why() const noexcept { return _why; }

 private:
  /// The operations that wait on this shard.
  struct all_here {
    seastar::reactor* reactor = nullptr;
    std::shared_ptr<seastar_way> way;
    seastar_operation* first = nullptr;
  };

  static all_here& waiting_here() {
    static thread_local all_here all;
    if (all.reactor != &seastar::engine()) {
      all.reactor = &seastar::engine();
      all.way = std::make_shared<seastar_way>();
      all.first = nullptr;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // Adapters have no other way to hear of the end.
      seastar::engine().at_exit([] {
        all.way->open = false;
        for (auto* o = all.first; o != nullptr; o = o->_next) {
          o->cancel(std::make_exception_ptr(error(WASM_STATUS_CANCELLED)));
        }
        // Threads that found the way open may wait for this shard to empty its queue.
        return seastar::do_until([] { return all.first == nullptr && all.way->inside == 0; },
                                 [] { return seastar::yield(); });
      });
#pragma GCC diagnostic pop
    }
    return all;
  }

  seastar_operation() = default;
  ~seastar_operation() = default;

  void release() noexcept {
    if (_references.fetch_sub(1) == 1) {
      delete this;
    }
  }

  void resume() noexcept {
    if (_waits) {
      auto waits = std::move(*_waits);
      _waits.reset();
      waits.set_value();
    }
  }

  // Also when the waker is dropped. Then either the poll was not pending and nothing waits or the engine was stopped
  // and another poll reports that.
  static void wake(void* data) noexcept {
    auto* me = static_cast<seastar_operation*>(data);
    const auto arrive = [me]() noexcept {
      me->_woken = true;
      me->resume();
      me->release();
    };
    const auto way = me->_way;
    if (seastar::engine_is_ready() && seastar::this_shard_id() == way->shard) {
      arrive();
    } else if (!way->run(arrive)) {
      me->release();
    }
  }

  std::atomic<int> _references = 1;
  std::shared_ptr<seastar_way> _way;
  std::optional<seastar::promise<>> _waits;
  std::exception_ptr _why;
  bool _woken = false;
  seastar_operation* _next = nullptr;
  seastar_operation* _previous = nullptr;
};

/// Gives an operation up when it is time.
class seastar_watch {
 public:
  explicit seastar_watch(const until& end) : _operation(seastar_operation::begin()), _source(end.source()) {
    if (_source != nullptr) {
      const auto give_up = [this]() noexcept { _operation->cancel(_source->abort_requested_exception_ptr()); };
      _subscription = _source->subscribe(give_up);
      if (!_subscription) {
        give_up();
      }
    }
    if (end.deadline()) {
      _timer.set_callback([this] { _operation->cancel(std::make_exception_ptr(seastar::timed_out_error())); });
      _timer.arm(*end.deadline());
    }
  }
  seastar_watch(const seastar_watch&) = delete;
  seastar_watch& operator=(const seastar_watch&) = delete;
  ~seastar_watch() { _operation->end(); }

  seastar_operation* operator->() const noexcept { return _operation; }

 private:
  seastar_operation* _operation;
  seastar::abort_source* _source;
  seastar::optimized_optional<seastar::abort_source::subscription> _subscription;
  seastar::timer<> _timer;
};

template <typename Future>
using value_of = std::decay_t<decltype(std::declval<typename outcome_of<Future>::type>().value())>;

}  // namespace detail

/// Drives an operation to its end on the shard of its engine. Fails with `wasmengine::error`. A `compilation` returns
/// the factory. An operation that completes at the first poll returns a future that is ready.
///
/// With an `abort_source` fails with its exception and with a deadline with `seastar::timed_out_error`. By then the
/// operation was cancelled as by `wasm_future_release`: a transform's engine is stopped and nothing uses the batch.
template <typename Future>
  requires std::derived_from<Future, future>
seastar::future<detail::value_of<Future>> as_future(Future operation, until end = {}) {
  // Most operations complete at the first poll or yield. No waker is made for those.
  auto polled = operation.poll();
  if (polled && *polled != WASM_POLL_READY) {
    const detail::seastar_watch watch(end);
    if (*polled == WASM_POLL_YIELDED) {
      co_await seastar::yield();
    }
    while (!watch->why()) {
      const wasm_waker waker = watch->waker();
      polled = operation.poll(&waker);
      if (!polled || *polled == WASM_POLL_READY) {
        break;
      }
      if (*polled == WASM_POLL_YIELDED) {
        co_await seastar::yield();
      } else {
        co_await watch->woken();
      }
    }
    if (polled && *polled != WASM_POLL_READY) {
      operation = Future();
      co_await seastar::coroutine::return_exception_ptr(watch->why());
    }
  }
  if (!polled) {
    co_await seastar::coroutine::return_exception_ptr(std::make_exception_ptr(polled.err()));
  }
  auto outcome = detail::take_outcome(operation);
  if (!outcome) {
    co_await seastar::coroutine::return_exception_ptr(std::make_exception_ptr(outcome.err()));
  }
  if constexpr (!std::is_void_v<detail::value_of<Future>>) {
    co_return std::move(outcome).value();
  }
}

/// As `as_future`. Fails with `seastar::timed_out_error` when the time has come and the operation was cancelled.
template <typename Future>
  requires std::derived_from<Future, future>
seastar::future<detail::value_of<Future>> with_timeout(until::time_point deadline, Future operation) {
  return as_future(std::move(operation), until(deadline));
}

namespace detail {

/// Bytes of the kinds that Seastar's users have: `temporary_buffer` and fragments with `get()`, anything else with
/// `data()`.
template <typename B>
concept seastar_bytes = requires(const B& b) {
  { b.size() } -> std::convertible_to<std::size_t>;
} && (requires(const B& b) { { *b.get() } -> std::convertible_to<std::uint8_t>; } ||
      requires(const B& b) { { *b.data() } -> std::convertible_to<std::uint8_t>; });

template <seastar_bytes B>
[[nodiscard]] std::span<const std::uint8_t> as_bytes(const B& b) noexcept {
  if constexpr (requires { *b.get(); }) {
    return {reinterpret_cast<const std::uint8_t*>(b.get()), b.size()};
  } else {
    return {reinterpret_cast<const std::uint8_t*>(b.data()), b.size()};
  }
}

/// Fragments of bytes, such as a vector of `temporary_buffer`.
template <typename R>
concept seastar_fragments =
    !seastar_bytes<R> && std::ranges::forward_range<R> && seastar_bytes<std::ranges::range_value_t<R>>;

/// The fragments in one piece.
template <seastar_fragments R>
[[nodiscard]] seastar::temporary_buffer<char> gathered(const R& fragments) {
  std::size_t size = 0;
  for (const auto& f : fragments) {
    size += as_bytes(f).size();
  }
  seastar::temporary_buffer<char> whole(size);
  char* to = whole.get_write();
  for (const auto& f : fragments) {
    const auto from = as_bytes(f);
    to = std::copy(from.begin(), from.end(), to);
  }
  return whole;
}

}  // namespace detail

/// Transforms a batch and owns it until nothing uses it. `batch` is a `temporary_buffer`, any other container of bytes
/// or a range of those. Fragments are gathered into one buffer because a guest's batch is one piece. A single fragment
/// is not copied. `engine` and `sink` must outlive the future. Fails as `as_future` does.
template <typename Batch, typename Sink>
  requires(detail::seastar_bytes<Batch> || detail::seastar_fragments<Batch>)
seastar::future<> transform(engine& on, Batch batch, Sink& sink, until end = {}) {
  if constexpr (detail::seastar_fragments<Batch>) {
    auto first = std::ranges::begin(batch);
    if (first != std::ranges::end(batch) && std::ranges::next(first) == std::ranges::end(batch)) {
      co_await as_future(on.transform(detail::as_bytes(*first), sink).value(), end);
    } else {
      const auto whole = detail::gathered(batch);
      batch = Batch();
      co_await as_future(on.transform(detail::as_bytes(whole), sink).value(), end);
    }
  } else {
    co_await as_future(on.transform(detail::as_bytes(batch), sink).value(), end);
  }
}

/// Transforms several batches in one call and owns them until nothing uses them: for those that wait together. See
/// `wasm_engine_transform_many`. Each batch is a `temporary_buffer` or any other container of bytes. `error::batch` of
/// a failure is the index of the batch that failed. Otherwise as `transform`.
template <detail::seastar_bytes Batch, typename Sink>
seastar::future<> transform_many(engine& on, std::vector<Batch> batches, Sink& sink, until end = {}) {
  const auto bytes = [](const Batch& batch) { return detail::as_bytes(batch); };
  co_await as_future(on.transform_many(std::views::transform(batches, bytes), sink).value(), end);
}

/// Transforms records that are in no batch. `list` is moved here and `owner` keeps what it points to: both live until
/// nothing uses them. See `wasm_engine_transform_records`. Otherwise as `transform`.
template <typename Owner, typename Sink>
seastar::future<> transform_records(engine& on, record_list list, [[maybe_unused]] Owner owner, Sink& sink,
                                    until end = {}) {
  co_await as_future(on.transform_records(list.all(), sink).value(), end);
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

/// A sink for `engine::transform` and `transform_many` made from a function `seastar::future<>(output_block)` or
/// `seastar::future<>(output_block, output_batches)`. Until the future resolves or the engine is stopped, the guest
/// does not run and the block can be read.
template <typename F>
  requires(std::is_invocable_r_v<seastar::future<>, F&, output_block> ||
           std::is_invocable_r_v<seastar::future<>, F&, output_block, output_batches>)
class seastar_sink {
 public:
  explicit seastar_sink(F function) : _function(std::move(function)) {}

  wasm_callback_result operator()(output_block block, output_call call) {
    seastar::future<> later = invoke(block, call);
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
  seastar::future<> invoke(output_block block, output_call call) {
    if constexpr (std::is_invocable_v<F&, output_block>) {
      return seastar::futurize_invoke(_function, block);
    } else {
      return seastar::futurize_invoke(_function, block, call.batches());
    }
  }

  F _function;
};

}  // namespace wasmengine
