// SPDX-License-Identifier: Apache-2.0
//
// A progress bar that can be taken off the terminal and put back.
#pragma once

#include <boost/timer/progress_display.hpp>

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>

namespace tool {

/// Boost's bar drawn into memory. Used by one thread.
class progress_bar {
 public:
  /// Without a total there is only a count and no scale.
  explicit progress_bar(std::optional<std::uint64_t> total);

  /// `done` of the total.
  void set(std::uint64_t done, std::uint64_t records);
  /// Further text in a line below. Empty for none. Must fit into the terminal's width.
  void set_line(const std::string& line) { _line = line; }
  /// What to write to the terminal to show the bar when the cursor is at the beginning of a line.
  [[nodiscard]] std::string show();
  /// What to write to remove it. Empty if it is not shown.
  [[nodiscard]] std::string hide();

 private:
  std::ostringstream _drawn;
  std::optional<boost::timer::progress_display> _bar;
  std::uint64_t _total = 0;
  std::uint64_t _records = 0;
  std::string _line;
  std::size_t _lines_above = 0;
  bool _shown = false;
};

}  // namespace tool
