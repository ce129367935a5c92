// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (FIPS 180-4), by which modules are told apart.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace tool {

/// 64 hexadecimal digits, as `sha256sum` prints them.
[[nodiscard]] std::string sha256(std::span<const std::uint8_t> bytes);

}  // namespace tool
