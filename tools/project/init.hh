// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform init`: a new project.
#pragma once

#include "project.hh"

namespace tool {

/// What the project of a language is written with.
enum class sdk {
  bundled,   ///< Headers and packages of this tool: it builds without a network.
  redpanda,  ///< Redpanda's own, which the first build fetches.
};

struct init_options {
  std::string name;
  tool::language language = language::rust;
  tool::sdk sdk = tool::sdk::bundled;
  std::string directory;  ///< Empty: the name.
  bool json = false;
};

/// Throws `failure`.
void init(const init_options& o);

}  // namespace tool
