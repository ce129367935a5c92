// SPDX-License-Identifier: Apache-2.0
//
// Where a transform's module comes from: a path or an address.
#pragma once

#include "config.hh"

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace transformd {

/// The SHA-256 of `bytes` in hexadecimal digits.
[[nodiscard]] std::string sha256(std::span<const std::uint8_t> bytes);

/// The module that the transform's file names. Blocks until it is there or `give_up`. Throws `config_error` if it cannot be
/// read or is not the one that the file wants.
[[nodiscard]] std::vector<std::uint8_t> read_module(const transform_file& file, const std::atomic<bool>& give_up);

}  // namespace transformd
