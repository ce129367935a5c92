// SPDX-License-Identifier: Apache-2.0
#include "interruption.hh"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace tool {

namespace {
std::atomic<int> caught = 0;
std::atomic<int> told = -1;  // an eventfd, readable from the first signal on
static_assert(std::atomic<int>::is_always_lock_free);
}  // namespace

interruption::interruption() {
  told = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (told < 0) {
    throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  struct sigaction action {};
  action.sa_handler = [](int number) {
    const int before = errno;
    caught = number;
    (void)::eventfd_write(told, 1);
    errno = before;
  };
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

int interruption::file() noexcept { return told; }

void interruption::check() {
  if (told >= 0 && caught != 0) {
    throw interrupted();
  }
}

void interruption::wait(int file) {
  if (told < 0) {
    return;
  }
  std::array<pollfd, 2> polled{{{file, POLLIN, 0}, {told, POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
  check();
}

void interruption::end(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  std::_Exit(128 + signal);
}

}  // namespace tool
