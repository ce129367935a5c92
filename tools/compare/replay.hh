// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform replay`: dead letters, one by one, through a module that may be mended.
#pragma once

#include "../encoding.hh"

#include <string>
#include <vector>

namespace tool {

struct replay_options {
  std::string guest;
  std::string dead_letters = "-";
  std::string output;  ///< File for what comes out. Empty: nowhere.
  encoding text = encoding::utf8;  ///< Of the dead letters, and of the output.
  std::vector<std::string> arguments;  ///< Of `run`.
  bool json = false;
};

/// Throws `failure` if a record fails still.
void replay(const replay_options& o);

}  // namespace tool
