// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform init`: a new project.
#pragma once

#include "project.hh"

namespace tool {

struct init_options {
  std::string name;
  tool::language language = language::rust;
  std::string directory;  ///< Empty: the name.
};

/// Throws `failure`.
void init(const init_options& o);

}  // namespace tool
