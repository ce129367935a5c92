// SPDX-License-Identifier: Apache-2.0
//
// `run` and `precompile` as processes, for the commands that compare what guests do: a guest that takes much, or never
// ends, leaves nothing behind.
#pragma once

#include "child.hh"

#include <filesystem>
#include <string>
#include <vector>

namespace tool {

/// Compiles a module into `scratch`, once for several runs, and returns the file. A compiled module stays as it is.
/// Throws `failure` as `precompile` does.
[[nodiscard]] std::string compile_once(const std::string& module, const std::filesystem::path& scratch);

/// Runs a guest with options of `run`. Its standard error is captured.
[[nodiscard]] child_result run_guest(const std::string& module, const std::string& input, const std::filesystem::path& output,
                                     const std::vector<std::string>& arguments);

/// Whether options of `run` have the guest on another computer, which has a clock and chance of its own.
[[nodiscard]] bool is_remote(const std::vector<std::string>& arguments);

/// What the tool wrote to standard error for its user: without its own name in front and without the summary.
[[nodiscard]] std::string message_of(const child_result& ended);

}  // namespace tool
