// SPDX-License-Identifier: Apache-2.0
//
// Boost.Asio: asynchronous operations with completion tokens and, where Asio has them, host functions that are
// coroutines. Boost 1.74 or later.
//
//   wasmengine::result<void> done = co_await wasmengine::async_wait(engine.start().value(), executor, use_awaitable);
//
// Threads: an engine's operations are awaited and its executor runs on the engine's thread. One thread runs the
//   io_context. Promises may be settled on any thread: the operation is then posted to the executor.
// Fairness: every poll is a handler of its own. So a guest that used its time slice goes to the back of the queue.
// Cancellation: stop or release the engine or, from Boost 1.77 on, emit through the token's cancellation slot on the
//   engine's thread. Types are `terminal`, `partial` and, for a compilation, `total`. The operation completes with
//   WASM_STATUS_CANCELLED.
// Shutdown: an io_context that is destroyed cancels its operations and drops their handlers, whatever they wait for. It
//   must be destroyed on the engines' thread if it has operations of engines.
// Coroutines: `run_on` is there if Asio has awaitables for this compiler (BOOST_ASIO_HAS_CO_AWAIT). The awaitables of
//   Boost 1.74 are GCC's only. `async_wait` works without.
#pragma once

#include "adapter.hh"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

#if __has_include(<boost/asio/associated_cancellation_slot.hpp>)
#include <boost/asio/associated_cancellation_slot.hpp>
#define WASM_ENGINE_ASIO_HAS_CANCELLATION 1
#endif
#ifdef BOOST_ASIO_HAS_CO_AWAIT
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#endif

#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace wasmengine {

namespace detail {

/// The operations of an execution context, which abandons them before it is destroyed.
class asio_operations final : public boost::asio::execution_context::service {
 public:
  static inline boost::asio::execution_context::id id;

  explicit asio_operations(boost::asio::execution_context& context)
      : service(context), all(std::make_shared<operations>()) {}

  /// Those on the context of `executor`.
  template <typename Executor>
  static std::shared_ptr<operations> of(const Executor& executor) {
    if constexpr (requires { executor.context(); }) {
      return boost::asio::use_service<asio_operations>(in(executor.context())).all;
    } else {
      return boost::asio::use_service<asio_operations>(
                 in(boost::asio::query(executor, boost::asio::execution::context)))
          .all;
    }
  }

  const std::shared_ptr<operations> all;

 private:
  static boost::asio::execution_context& in(boost::asio::execution_context& context) { return context; }

  void shutdown() override { all->close(); }
};

/// Puts polls into an executor's queue and keeps the executor's context running until then.
template <typename Executor>
struct asio_post {
  explicit asio_post(const Executor& e) : work(e) {}

  void operator()(std::shared_ptr<operation> what) const noexcept {
    // A handler that is destroyed instead of called cancels the operation.
    struct discard {
      void operator()(operation* o) const noexcept { o->discard(); }
    };
    struct step {
      std::shared_ptr<operation> owner;
      std::unique_ptr<operation, discard> unless_run;
      void operator()() { unless_run.release()->run(); }
    };
    std::unique_ptr<operation, discard> unless_run(what.get());
    boost::asio::post(work.get_executor(), step{std::move(what), std::move(unless_run)});
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
#ifdef WASM_ENGINE_ASIO_HAS_CANCELLATION
    if (auto slot = boost::asio::get_associated_cancellation_slot(_handler); slot.is_connected()) {
      slot.clear();
    }
#endif
    const auto executor = _work.get_executor();
    boost::asio::dispatch(executor, [handler = std::move(_handler), outcome = std::move(outcome)]() mutable {
      std::move(handler)(std::move(outcome));
    });
  }

 private:
  Handler _handler;
  boost::asio::executor_work_guard<boost::asio::associated_executor_t<Handler, Executor>> _work;
};

/// Begins an operation.
template <typename Future, typename Executor, typename Handler>
void asio_start(Handler handler, Future future, const Executor& executor) {
  using adapted = asio_handler<Handler, Executor>;
#ifdef WASM_ENGINE_ASIO_HAS_CANCELLATION
  auto slot = boost::asio::get_associated_cancellation_slot(handler);
  // Only once the operation is one of the context's. A context that is shut down drops the handler at once and perhaps
  // what the slot is part of.
  const auto assign = [&slot](const std::weak_ptr<operation>& begun) {
    if (!slot.is_connected()) {
      return;
    }
    slot.assign([begun](boost::asio::cancellation_type type) {
      using types = boost::asio::cancellation_type;
      // A guest that is cancelled is stopped, which is an effect. A module that is not compiled is none.
      auto accepted = types::terminal | types::partial;
      if constexpr (!std::is_same_v<typename outcome_of<Future>::type, result<void>>) {
        accepted = types::all;
      }
      if (const auto o = begun.lock(); o && (type & accepted) != types::none) {
        o->cancel();
      }
    });
  };
#else
  const auto assign = [](const std::weak_ptr<operation>&) noexcept {};
#endif
  (void)spawned<Future, asio_post<Executor>, adapted>::start(
      std::move(future), asio_post<Executor>(executor), adapted(std::move(handler), executor),
      asio_operations::of(executor), assign);
}

}  // namespace detail

/// Drives an operation to its end. Completes with `result<void>`. A `compilation` completes with `result<factory>`.
template <typename Future, typename Executor, typename Token>
  requires std::derived_from<Future, future>
auto async_wait(Future operation, const Executor& executor, Token&& token) {
  using outcome = typename detail::outcome_of<Future>::type;
  return boost::asio::async_initiate<Token, void(outcome)>(
      [](auto&& handler, Future f, const Executor& e) {
        detail::asio_start(std::decay_t<decltype(handler)>(std::forward<decltype(handler)>(handler)), std::move(f), e);
      },
      token, std::move(operation), executor);
}

#ifdef BOOST_ASIO_HAS_CO_AWAIT

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

#endif  // BOOST_ASIO_HAS_CO_AWAIT

}  // namespace wasmengine
