// SPDX-License-Identifier: Apache-2.0
//
// wasm-transform(1).
#pragma once

#include "command_line.hh"

namespace tool {

/// The manual page in the language of man(7).
[[nodiscard]] std::string man_page(const command_line& line, const std::string& version);

}  // namespace tool
