// SPDX-License-Identifier: Apache-2.0
//
// Runs a case by the tool's own `run`, as a process: a guest that takes the tool down fails its case alone.
#pragma once

#include "test_case.hh"

#include <chrono>
#include <string>
#include <vector>

namespace tool {

struct case_result {
  std::string name;
  std::string message;  ///< Why it failed. Empty: it passed.
  std::chrono::nanoseconds time{0};

  [[nodiscard]] bool passed() const noexcept { return message.empty(); }
};

/// How all cases are run.
struct case_settings {
  std::string module;
  std::vector<std::string> arguments;  ///< Of `run`, before those of a case.
  std::filesystem::path scratch;       ///< A directory for what comes out.
  bool update = false;                 ///< Writes down what comes out.
  bool coloured = false;
};

[[nodiscard]] case_result run_case(const test_case& one, const case_settings& s);

}  // namespace tool
