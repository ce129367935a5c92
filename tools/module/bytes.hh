// SPDX-License-Identifier: Apache-2.0
//
// Reads numbers and texts off the front of bytes that may end anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tool {

/// After a read beyond the end everything is zero and empty, and `failed` says so.
class byte_reader {
 public:
  explicit byte_reader(std::span<const std::uint8_t> bytes) noexcept : _rest(bytes) {}

  [[nodiscard]] bool failed() const noexcept { return _failed; }
  [[nodiscard]] bool empty() const noexcept { return _rest.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return _rest.size(); }

  std::span<const std::uint8_t> take(std::uint64_t size) noexcept {
    if (size > _rest.size()) {
      _failed = true;
      _rest = {};
      return {};
    }
    const auto taken = _rest.first(static_cast<std::size_t>(size));
    _rest = _rest.subspan(static_cast<std::size_t>(size));
    return taken;
  }

  std::uint8_t byte() noexcept {
    const auto one = take(1);
    return one.empty() ? std::uint8_t{0} : one.front();
  }

  /// Little-endian, of `size` bytes.
  std::uint64_t number(std::size_t size) noexcept {
    std::uint64_t value = 0;
    std::size_t shift = 0;
    for (const auto b : take(size)) {
      value |= std::uint64_t{b} << shift;
      shift += 8;
    }
    return value;
  }

  /// LEB128, unsigned, of 32 bits.
  std::uint32_t leb() noexcept {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      const auto b = byte();
      value |= std::uint64_t{b & 0x7fU} << shift;
      if ((b & 0x80U) == 0) {
        return static_cast<std::uint32_t>(value);
      }
    }
    _failed = true;
    return 0;
  }

  std::string text(std::uint64_t size) {
    const auto bytes = take(size);
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::span<const std::uint8_t> _rest;
  bool _failed = false;
};

}  // namespace tool
