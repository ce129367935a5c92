// SPDX-License-Identifier: Apache-2.0
//
// The module that copies records: what a transform costs at least.
#pragma once

#include <cstdint>
#include <span>

namespace tool {

[[nodiscard]] std::span<const std::uint8_t> identity_module() noexcept;

}  // namespace tool
