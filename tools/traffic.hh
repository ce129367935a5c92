// SPDX-License-Identifier: Apache-2.0
//
// The throughput of a run while it is in progress.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace tool {

/// Counters that all threads of a run add to. A batch's records are added when it has completed.
struct traffic {
  std::atomic<std::uint64_t> records_read = 0;  ///< From the input.
  std::atomic<std::uint64_t> records_in = 0;    ///< Of those: given to guests that have finished them.
  std::atomic<std::uint64_t> bytes_in = 0;
  std::atomic<std::uint64_t> records_out = 0;
  std::atomic<std::uint64_t> bytes_out = 0;
  std::atomic<std::uint64_t> lost = 0;  ///< Records at which guests failed without ending the run.
};

/// Rates of the last second as text. Used by one thread.
class throughput {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit throughput(time_point now) : _then(now) {}

  /// Reads the counters and the number of `errors`. True if a second has passed and `line` has changed.
  bool update(const traffic& t, std::uint64_t errors, time_point now);
  /// `in 12,345/s, 1.2 MiB/s; …`. Empty in the first second.
  [[nodiscard]] const std::string& line() const noexcept { return _line; }

 private:
  struct counts {
    std::uint64_t records_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t records_out = 0;
    std::uint64_t bytes_out = 0;
  };
  time_point _then;
  counts _before;
  std::string _line;
};

}  // namespace tool
