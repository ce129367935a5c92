// SPDX-License-Identifier: Apache-2.0
//
// Signals that end a run.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>

namespace tool {

/// A signal ends what is being done: what has a destructor is cleaned up, then the process ends by the signal. Not
/// derived from std::exception, so that nobody takes it for an error.
struct interrupted {};

/// From here on SIGINT, SIGTERM, SIGHUP and a reader of the output that is gone leave time to write what is to be
/// written. A second signal ends the process. One object in a process.
class interruption {
 public:
  /// How long the end may take before the process ends anyway: somebody may not read our output.
  static constexpr std::chrono::seconds grace{3};

  interruption();
  interruption(interruption&&) = delete;

  /// The signal, once: at the first call after it has come.
  [[nodiscard]] std::optional<int> take();
  /// Whether the time after that is over.
  [[nodiscard]] bool is_overdue() const noexcept;
  /// As if the signal had come.
  static void pretend(int signal) noexcept;
  /// The signal if one has come.
  [[nodiscard]] static int signal() noexcept;

  /// Waits until the file can be read. Throws `interrupted` if a signal has come or comes. Without an object of this
  /// class it returns at once.
  static void wait(int file);
  /// Throws `interrupted` if a signal has come.
  static void check();
  /// A file that can be read when a signal has come. -1 without an object of this class.
  [[nodiscard]] static int file() noexcept;

  /// Ends the process by the signal.
  [[noreturn]] static void end(int signal);

 private:
  std::optional<std::chrono::steady_clock::time_point> _since;
};

}  // namespace tool
