// SPDX-License-Identifier: Apache-2.0
//
// How two texts differ, line by line.
#pragma once

#include <string>
#include <string_view>

namespace tool {

/// Lines that are missing begin with `-`, those that are too much with `+`, three around them with a blank. Empty if
/// the texts are the same. `coloured` for a terminal.
[[nodiscard]] std::string line_diff(std::string_view expected, std::string_view actual, bool coloured);

}  // namespace tool
