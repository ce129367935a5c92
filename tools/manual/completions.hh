// SPDX-License-Identifier: Apache-2.0
//
// What shells complete after `wasm-transform`.
#pragma once

#include "command_line.hh"

namespace tool {

[[nodiscard]] std::string bash_completions(const command_line& line);
[[nodiscard]] std::string zsh_completions(const command_line& line);
[[nodiscard]] std::string fish_completions(const command_line& line);

}  // namespace tool
