// SPDX-License-Identifier: Apache-2.0
#include "csv_columns.hh"

#include "csv.hh"

#include <utility>

namespace tool {

void csv_columns::set(std::vector<std::string> names) {
  const std::lock_guard lock(_mutex);
  if (!_known) {
    _names = std::move(names);
    _known = true;
  }
}

std::string csv_columns::header() const {
  if (!_known) {
    return {};
  }
  auto all = _names;
  if (_origin) {
    all.insert(all.end(), {"input_offset", "input_index", "ordinal"});
  }
  return row_of(all, _separator);
}

}  // namespace tool
