// SPDX-License-Identifier: Apache-2.0
//
// How the broker's loop comes round again soon.
#pragma once

#include <ctime>

namespace mosquitto_wasm {

/// The broker waits up to 100 ms for its clients between two ticks, and a plugin has no means to end that wait: no file
/// descriptor of its own, no timer. A signal ends it, because epoll_wait returns with EINTR then and the loop goes on
/// to the tick. So a timer sends one to the broker's thread while guests have work to do. It repeats because a signal
/// that comes just before the wait begins does not end it.
class waker {
 public:
  /// A waker that does nothing.
  waker() = default;
  ~waker();
  waker(const waker&) = delete;
  waker& operator=(const waker&) = delete;

  /// For the calling thread. Throws std::runtime_error.
  void start();

  /// Wakes the thread soon, and again until it is disarmed.
  void arm() noexcept;
  void disarm() noexcept;

 private:
  timer_t _timer{};
  int _signal = 0;
  bool _armed = false;
};

}  // namespace mosquitto_wasm
