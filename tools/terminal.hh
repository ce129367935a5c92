// SPDX-License-Identifier: Apache-2.0
//
// Colours of a terminal.
#pragma once

#include <string>
#include <string_view>

namespace tool {

enum class colour { red, green, yellow, bold };

/// Whether a file is a terminal with colours, and NO_COLOR is not set.
[[nodiscard]] bool has_colours(int fd);

/// The text in a colour if `coloured`.
[[nodiscard]] std::string in_colour(bool coloured, colour which, std::string_view text);

}  // namespace tool
