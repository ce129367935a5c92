// SPDX-License-Identifier: Apache-2.0
//
// What a coroutine waits for when several things may wake it.
#pragma once

#include <utility>  // before Asio: its awaitable.hpp of Boost 1.74 does not include it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>

namespace transformd {

namespace asio = boost::asio;

/// Wakes one coroutine. On the loop's thread.
class notification {
 public:
  using clock = std::chrono::steady_clock;

  explicit notification(const asio::any_io_executor& loop) : _timer(loop) {}

  /// Wakes the waiter or lets the next wait return at once.
  void notify() {
    _notified = true;
    _timer.cancel();
  }

  /// Returns when notified or at `deadline`.
  asio::awaitable<void> wait_until(clock::time_point deadline) {
    if (!std::exchange(_notified, false)) {
      boost::system::error_code ignored;
      _timer.expires_at(deadline);
      co_await _timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      _notified = false;
    }
  }

 private:
  asio::steady_timer _timer;
  bool _notified = false;
};

}  // namespace transformd
