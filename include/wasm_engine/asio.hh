// SPDX-License-Identifier: Apache-2.0
//
// Boost.Asio: asynchronous operations with completion tokens and host functions that are coroutines. Boost 1.74 or
// later.
//
//   wasmengine::result<void> done = co_await wasmengine::async_wait(engine.start().value(), executor, use_awaitable);
//
// Threads: an engine's operations are awaited and its executor runs on the engine's thread. One thread runs the
//   io_context. Promises may be settled on any thread: the operation is then posted to the executor.
// Fairness: every poll is a handler of its own. So a guest that used its time slice goes to the back of the queue.
// Cancellation: stop or release the engine. The operation then completes with WASM_STATUS_CANCELLED. There are no
//   per-operation cancellation slots.
// Shutdown: release engines before the io_context is destroyed or let their completion handlers own them. A destroyed
//   io_context cancels the operations whose polls are in its queue. It does not own those that wait for a promise.

#include "adapter.hh"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace wasmengine {

namespace detail {

/// Puts polls into an executor's queue and keeps the executor's context running until then.
template <typename Executor>
struct asio_post {
  explicit asio_post(const Executor& e) : work(e) {}

  template <typename Spawned>
  void operator()(Spawned* operation) const noexcept {
    struct discard {
      void operator()(Spawned* s) const noexcept { Spawned::discard(s); }
    };
    // A handler that is destroyed instead of called cancels the operation.
    boost::asio::post(work.get_executor(), [step = std::unique_ptr<Spawned, discard>(operation)]() mutable {
      Spawned::run(step.release());
    });
  }

  boost::asio::executor_work_guard<Executor> work;
};

/// Calls a handler as Asio requires: through its associated executor, which is kept running until then.
template <typename Handler, typename Executor>
class asio_handler {
 public:
  asio_handler(Handler handler, const Executor& fallback)
      : _handler(std::move(handler)), _work(boost::asio::get_associated_executor(_handler, fallback)) {}

  template <typename Outcome>
  void operator()(Outcome outcome) && {
    const auto executor = _work.get_executor();
    boost::asio::dispatch(executor, [handler = std::move(_handler), outcome = std::move(outcome)]() mutable {
      std::move(handler)(std::move(outcome));
    });
  }

 private:
  Handler _handler;
  boost::asio::executor_work_guard<boost::asio::associated_executor_t<Handler, Executor>> _work;
};

}  // namespace detail

/// Drives an operation to its end. Completes with `result<void>`. A `compilation` completes with `result<factory>`.
template <typename Future, typename Executor, typename Token>
  requires std::derived_from<Future, future>
auto async_wait(Future operation, const Executor& executor, Token&& token) {
  using outcome = typename detail::outcome_of<Future>::type;
  return boost::asio::async_initiate<Token, void(outcome)>(
      [](auto&& handler, Future f, Executor e) {
        using adapted = detail::asio_handler<std::decay_t<decltype(handler)>, Executor>;
        detail::spawned<Future, detail::asio_post<Executor>, adapted>::start(
            std::move(f), detail::asio_post<Executor>(e),
            adapted(std::forward<decltype(handler)>(handler), e));
      },
      token, std::move(operation), executor);
}

/// A coroutine and its executor. Made by `run_on`.
template <typename T, typename Executor>
struct asio_coroutine {
  Executor executor;
  boost::asio::awaitable<T, Executor> coroutine;
};

/// Returned by a host function whose result is that of a coroutine. The coroutine begins later on `executor` and runs
/// to its end even if its guest is gone. If it is destroyed instead, the guest's call fails.
template <typename T, typename Executor>
[[nodiscard]] asio_coroutine<T, Executor> run_on(const std::type_identity_t<Executor>& executor,
                                                 boost::asio::awaitable<T, Executor> coroutine) {
  return {executor, std::move(coroutine)};
}

template <typename T, typename Executor>
struct async_traits<asio_coroutine<T, Executor>> {
  using value_type = T;

  template <typename Done>
  static void then(asio_coroutine<T, Executor> what, Done done) {
    boost::asio::co_spawn(what.executor, std::move(what.coroutine),
                          [done = std::move(done)](std::exception_ptr thrown, auto... value) mutable {
                            done.finish([thrown = std::move(thrown), ... value = std::move(value)]() mutable -> T {
                              if (thrown) {
                                std::rethrow_exception(thrown);
                              }
                              return (std::move(value), ...);
                            });
                          });
  }
};

}  // namespace wasmengine
