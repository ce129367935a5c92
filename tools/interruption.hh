// SPDX-License-Identifier: Apache-2.0
//
// Signals that end a run.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>

namespace tool {

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

  /// Ends the process by the signal.
  [[noreturn]] static void end(int signal);

 private:
  std::optional<std::chrono::steady_clock::time_point> _since;
};

}  // namespace tool
