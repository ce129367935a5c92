// SPDX-License-Identifier: Apache-2.0
//
// Lines of a file or a pipe or a terminal.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "file.hh"

namespace tool {

/// Reads lines of at most `max_line` bytes. Used by one thread.
class line_reader {
 public:
  static constexpr std::size_t max_line = 64U << 20;

  /// `on_idle` is called when there is no input at the moment, before the reader waits for more.
  line_reader(descriptor input, std::function<void()> on_idle);

  /// The next line without its newline. Valid until the next call. None at the end or after `interrupt`. Throws
  /// `failure`.
  [[nodiscard]] std::optional<std::string_view> next();

  /// Number of the last line, from 1.
  [[nodiscard]] std::uint64_t line() const noexcept { return _line; }
  /// Bytes of the lines so far. Any thread.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return _bytes; }
  /// Size of the input in bytes if it is a file. Any thread.
  [[nodiscard]] std::optional<std::uint64_t> total() const noexcept { return _total; }

  /// Ends the input, also while the reader waits for it. Any thread.
  void interrupt() noexcept;

 private:
  bool fill();
  bool wait();

  descriptor _input;
  descriptor _interrupt;
  std::function<void()> _on_idle;
  std::vector<char> _buffer;
  std::size_t _begin = 0;    // of the next line
  std::size_t _scanned = 0;  // up to here there is no newline
  std::size_t _end = 0;      // of what was read
  std::uint64_t _line = 0;
  std::atomic<std::uint64_t> _bytes = 0;
  std::optional<std::uint64_t> _total;
};

}  // namespace tool
