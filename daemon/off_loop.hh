// SPDX-License-Identifier: Apache-2.0
//
// Calls that block, away from the event loops.
//
// Some calls of librdkafka wait for the cluster: those of transactions, closing and destroying a client. A coroutine
// that awaits `off_loop` continues on its own loop when such a call has returned on a thread of the pool.
#pragma once

#include <utility>  // before Asio: its awaitable.hpp of Boost 1.74 does not include it

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>

namespace transformd {

namespace asio = boost::asio;

/// Calls `f()` on a thread of `pool`. Throws what it throws. Name `f` before: GCC 12 destroys the captures of a temporary
/// in the operand of `co_await` twice (its bug 101367).
template <typename F>
asio::awaitable<std::invoke_result_t<F&>> off_loop(asio::thread_pool& pool, F f) {
  using value = std::invoke_result_t<F&>;
  using stored = std::conditional_t<std::is_void_v<value>, bool, value>;
  struct outcome {
    std::optional<stored> value;
    std::exception_ptr thrown;
  };
  const auto out = std::make_shared<outcome>();
  const auto initiate = [&pool, out](auto&& handler, F work) {
    auto executor = asio::get_associated_executor(handler);
    asio::post(pool, [out, work = std::move(work), guard = asio::make_work_guard(executor),
                      handler = std::forward<decltype(handler)>(handler)]() mutable {
      try {
        if constexpr (std::is_void_v<value>) {
          work();
          out->value.emplace(true);
        } else {
          out->value.emplace(work());
        }
      } catch (...) {
        out->thrown = std::current_exception();
      }
      asio::post(guard.get_executor(), std::move(handler));
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(initiate, asio::use_awaitable, std::move(f));
  if (out->thrown) {
    std::rethrow_exception(out->thrown);
  }
  if constexpr (!std::is_void_v<value>) {
    co_return std::move(*out->value);
  }
}

}  // namespace transformd
