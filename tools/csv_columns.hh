// SPDX-License-Identifier: Apache-2.0
//
// The columns of CSV that is written.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace tool {

/// They are known from the beginning, or the first record has them. Any thread.
class csv_columns {
 public:
  csv_columns(char separator, bool origin) : _separator(separator), _origin(origin) {}
  csv_columns(csv_columns&&) = delete;

  /// Sets the names unless they are known.
  void set(std::vector<std::string> names);
  [[nodiscard]] bool known() const noexcept { return _known; }
  /// The names. They are known.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return _names; }
  [[nodiscard]] char separator() const noexcept { return _separator; }

  /// The first row of a file. Empty if the names are not known.
  [[nodiscard]] std::string header() const;

 private:
  const char _separator;
  const bool _origin;
  std::mutex _mutex;
  std::atomic<bool> _known = false;
  std::vector<std::string> _names;
};

}  // namespace tool
