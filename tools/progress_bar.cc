// SPDX-License-Identifier: Apache-2.0
#include "progress_bar.hh"

#include <fmt/format.h>

#include <algorithm>

namespace tool {

progress_bar::progress_bar(std::optional<std::uint64_t> total) {
  if (total && *total > 0) {
    _total = *total;
    _bar.emplace(_total, _drawn, "", "", "");
  }
}

void progress_bar::set(std::uint64_t done, std::uint64_t records) {
  _records = records;
  // Kept below the total. At the total Boost's bar begins another line.
  done = std::min(done, _total - 1);
  if (_bar && done > _bar->count()) {
    *_bar += done - _bar->count();
  }
}

std::string progress_bar::show() {
  std::string text = fmt::format("{}{}", _drawn.str(), _bar ? "" : fmt::format("{} records …", _records));
  if (!_line.empty()) {
    text += '\n' + _line;
  }
  _lines_above = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  _shown = true;
  return text;
}

std::string progress_bar::hide() {
  if (!_shown) {
    return {};
  }
  _shown = false;
  return _lines_above == 0 ? std::string("\r\x1b[J") : fmt::format("\r\x1b[{}A\x1b[J", _lines_above);
}

}  // namespace tool
