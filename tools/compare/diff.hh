// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform diff`: what two modules make of the same input.
#pragma once

#include <string>
#include <vector>

namespace tool {

struct diff_options {
  std::string before;  ///< Modules.
  std::string after;
  std::string input;
  std::vector<std::string> arguments;  ///< Of `run`.
  bool json = false;
};

/// Throws `failure` if the outputs differ.
void diff(const diff_options& o);

}  // namespace tool
