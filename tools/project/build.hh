// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform build`: the module of a project.
#pragma once

#include "project.hh"

namespace tool {

struct build_options {
  std::string directory = ".";
  bool debug = false;  ///< With debug information, and without wasm-opt.
  bool json = false;
  bool quiet = false;
};

/// Builds into `project::module`. Throws `failure`.
void build(const project& p, const build_options& o);
/// The same of the project in the options' directory.
void build(const build_options& o);

}  // namespace tool
