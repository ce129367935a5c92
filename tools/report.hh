// SPDX-License-Identifier: Apache-2.0
//
// The statistics of a run.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tool {

/// A histogram of durations with a precision of about six percent.
class histogram {
 public:
  void add(std::uint64_t nanoseconds, std::uint64_t times);
  void merge(const histogram& other);
  /// The duration that `fraction` of the counted ones do not exceed.
  [[nodiscard]] std::uint64_t quantile(double fraction) const;
  [[nodiscard]] std::uint64_t max() const noexcept { return _max; }
  [[nodiscard]] std::uint64_t count() const noexcept { return _count; }

 private:
  // 16 buckets for each power of two.
  std::array<std::uint64_t, 64 * 16> _buckets{};
  std::uint64_t _count = 0;
  std::uint64_t _max = 0;
};

/// Statistics of one worker or of all.
struct statistics {
  std::uint64_t records_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t records_out = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t batches = 0;
  std::uint64_t skipped = 0;       ///< Records that were dropped.
  std::uint64_t dead_letters = 0;  ///< Records at which the guest failed and that were kept.
  std::string last_loss;           ///< Why the last of those was.
  std::uint64_t guest_memory = 0;        ///< Of the largest guest.
  std::chrono::nanoseconds cpu_time{0};  ///< Of the worker's thread.
  histogram latency;                     ///< Per record.

  void merge(const statistics& other);
  /// Records at which guests failed without ending the run.
  [[nodiscard]] std::uint64_t lost() const noexcept { return skipped + dead_letters; }
};

/// What else to report to the user.
struct summary {
  std::size_t threads = 1;
  std::size_t errors = 0;  ///< Failures that ended the run. Lost records are errors too.
  std::chrono::nanoseconds compile_time{0};
  std::chrono::nanoseconds wall_time{0};
  std::vector<std::string> remarks = {};  ///< What else the user should know. Of a text they come before it.
};

/// Some lines of text.
[[nodiscard]] std::string report(const statistics& s, const summary& u);

/// `1,234,567`.
[[nodiscard]] std::string grouped(std::uint64_t number);
/// `1.2 MiB`.
[[nodiscard]] std::string byte_count(std::uint64_t bytes);

}  // namespace tool
