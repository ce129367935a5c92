// SPDX-License-Identifier: Apache-2.0
//
// The daemon's log: lines on standard error, and the last ones of each transform in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace transformd {

enum class severity { debug, info, warn, error };

/// One line.
struct log_entry {
  std::uint64_t number = 0;     ///< Counts the lines of the process.
  std::int64_t time_ms = 0;     ///< Milliseconds since 1970.
  severity level = severity::info;
  bool guest = false;           ///< Written by the guest.
  std::string transform;        ///< Empty if it is about none.
  std::string text;
};

[[nodiscard]] std::string_view name_of(severity level) noexcept;

/// Any thread.
class logger {
 public:
  /// Lines below `least` are dropped.
  explicit logger(severity least) : _least(least) {}

  void write(severity level, std::string_view transform, std::string_view text, bool guest = false);

  /// The lines of a transform that are still kept, from line `from` on.
  [[nodiscard]] std::vector<log_entry> recent(const std::string& transform, std::uint64_t from) const;

 private:
  static constexpr std::size_t kept_lines = 1000;

  const severity _least;
  mutable std::mutex _mutex;
  std::uint64_t _written = 0;
  std::map<std::string, std::deque<log_entry>, std::less<>> _recent;
};

}  // namespace transformd
