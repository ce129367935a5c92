// SPDX-License-Identifier: Apache-2.0
//
// `wasm-transform test`: the cases of a project.
#pragma once

#include <string>
#include <vector>

namespace tool {

struct test_options {
  std::vector<std::string> names;  ///< Empty: all.
  std::string directory = ".";
  std::string guest;  ///< Empty: the project's, which is built.
  std::string cases = "tests";
  std::string junit;  ///< File.
  bool json = false;
  bool update = false;
  bool watch = false;
  bool quiet = false;
};

/// Throws `failure` if a case fails.
void test(const test_options& o);

}  // namespace tool
