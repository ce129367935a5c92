// SPDX-License-Identifier: Apache-2.0
#include "interruption.hh"

#include <csignal>
#include <cstdlib>

namespace tool {

namespace {
std::atomic<int> caught = 0;
static_assert(std::atomic<int>::is_always_lock_free);
}  // namespace

interruption::interruption() {
  struct sigaction action {};
  action.sa_handler = [](int number) { caught = number; };
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  ::sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old {};
    // nohup starts programs that ignore this one. A shell in the background may do so with SIGINT, which is sent on
    // purpose then.
    if (number != SIGHUP || (::sigaction(number, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)) {
      ::sigaction(number, &action, nullptr);
    }
  }
  // A write then fails instead.
  ::signal(SIGPIPE, SIG_IGN);
}

std::optional<int> interruption::take() {
  if (const int number = caught; number != 0 && !_since) {
    _since = std::chrono::steady_clock::now();
    return number;
  }
  return std::nullopt;
}

bool interruption::is_overdue() const noexcept { return _since && std::chrono::steady_clock::now() - *_since > grace; }

void interruption::pretend(int signal) noexcept {
  int none = 0;
  caught.compare_exchange_strong(none, signal);
}

int interruption::signal() noexcept { return caught; }

void interruption::end(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  std::_Exit(128 + signal);
}

}  // namespace tool
