// SPDX-License-Identifier: Apache-2.0
#include "wake.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace mosquitto_wasm {

namespace {

// Clients have their turn before the first signal: a wait with something to do returns at once.
constexpr long first_ns = 100'000;
constexpr long again_ns = 1'000'000;

/// A real-time signal that nobody else in this process has a use for. 0 if there is none.
int free_signal() {
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    struct sigaction current {};
    if (sigaction(number, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
      return number;
    }
  }
  return 0;
}

void ignore(int) {}

}  // namespace

void waker::start() {
  const int number = free_signal();
  if (number == 0) {
    throw std::runtime_error("no real-time signal is free: set `wake never`");
  }
  struct sigaction action {};
  action.sa_handler = ignore;
  // The stack may be a guest's and nearly used up. System calls that can go on by themselves do.
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = number;
#ifdef sigev_notify_thread_id
  event.sigev_notify_thread_id = gettid();
#else
  event._sigev_un._tid = gettid();
#endif
  if (sigaction(number, &action, nullptr) != 0 || timer_create(CLOCK_MONOTONIC, &event, &_timer) != 0) {
    throw std::runtime_error(std::string("no timer: ") + std::strerror(errno));
  }
  _signal = number;
}

waker::~waker() {
  if (_signal != 0) {
    timer_delete(_timer);
    // One may be on its way still.
    std::signal(_signal, SIG_IGN);
  }
}

void waker::arm() noexcept {
  if (_signal != 0) {
    const itimerspec when{{0, again_ns}, {0, first_ns}};
    timer_settime(_timer, 0, &when, nullptr);
    _armed = true;
  }
}

void waker::disarm() noexcept {
  if (_armed) {
    const itimerspec never{};
    timer_settime(_timer, 0, &never, nullptr);
    _armed = false;
  }
}

}  // namespace mosquitto_wasm
