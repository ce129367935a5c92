// SPDX-License-Identifier: Apache-2.0
//
// What Redpanda's broker lets a module import.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tool {

/// The imports of a module that the broker does not have, as `MODULE.FUNCTION`. With one it cannot be started there.
/// The broker does not look at imports when it is given a module.
[[nodiscard]] std::vector<std::string> unknown_imports(std::span<const std::uint8_t> module);

/// Whether the module asks for schemas.
[[nodiscard]] bool uses_schema_registry(std::span<const std::uint8_t> module);

}  // namespace tool
