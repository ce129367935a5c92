// SPDX-License-Identifier: Apache-2.0
//
// The daemon's log: lines on standard error, and the last ones of each transform in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
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

/// Any thread. A line that standard error does not take at once is not written there.
class logger {
 public:
  /// Lines below `least` are dropped.
  explicit logger(severity least) : _least(least) {}

  void write(severity level, std::string_view transform, std::string_view text, bool guest = false);

  /// Gives each line of a transform's guests to `to` as well, on the thread that writes it. Empty: no more.
  void forward(const std::string& transform, std::function<void(const log_entry&)> to);

  /// Calls `f` when the next line of the transform is written, on that thread, unless the result has been dropped.
  [[nodiscard]] std::shared_ptr<const std::function<void()>> on_next_line(const std::string& transform, std::function<void()> f);

  /// The lines of a transform that are still kept, from line `from` on.
  [[nodiscard]] std::vector<log_entry> recent(const std::string& transform, std::uint64_t from) const;

 private:
  static constexpr std::size_t kept_lines = 1000;

  struct lines {
    std::deque<log_entry> recent;
    std::shared_ptr<const std::function<void(const log_entry&)>> forward;
    std::vector<std::weak_ptr<const std::function<void()>>> waiting;
  };

  void print(const std::string& line);
  [[nodiscard]] lines& of(std::string_view transform);

  const severity _least;
  mutable std::mutex _mutex;
  std::uint64_t _written = 0;
  std::uint64_t _unwritten = 0;  ///< Lines that standard error did not take since the last that it took.
  std::map<std::string, lines, std::less<>> _of;
};

}  // namespace transformd
