// SPDX-License-Identifier: Apache-2.0
#include "failures.hh"

#include <utility>

namespace tool {

void failures::add(std::uint64_t line, const failure& what, std::optional<wasmengine::error> why) {
  const std::lock_guard lock(_mutex);
  ++_count;
  if (line < _first_line) {
    _first = what;
    _first_error = std::move(why);
    _first_line = line;
  }
}

std::size_t failures::count() const {
  const std::lock_guard lock(_mutex);
  return _count;
}

std::optional<failure> failures::first() const {
  const std::lock_guard lock(_mutex);
  return _first;
}

std::optional<wasmengine::error> failures::first_error() const {
  const std::lock_guard lock(_mutex);
  return _first_error;
}

}  // namespace tool
