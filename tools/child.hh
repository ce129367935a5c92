// SPDX-License-Identifier: Apache-2.0
//
// Other programs: compilers, and the tool itself for what shall fail apart.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tool {

/// A command and where it runs.
struct child_command {
  std::vector<std::string> arguments;  ///< The program first.
  std::string directory;               ///< Empty: ours.
  std::vector<std::pair<std::string, std::string>> environment;  ///< Beside ours. An empty value removes a variable.
  std::string input;                   ///< A file for standard input. Empty: none.
  bool shows_errors = false;           ///< Standard error is ours and is not captured.
};

/// Bytes that are kept of what a command writes. Of more the first and the last of them.
inline constexpr std::size_t most_captured = 512U << 10;

/// How it ended.
struct child_result {
  int code = 0;                      ///< Of a signal: 128 and its number.
  std::string output;                ///< Of standard output, without its middle if it is long: see `most_captured`.
  std::string errors;                ///< Of standard error, likewise.
  std::chrono::nanoseconds time{0};      ///< Wall clock.
  std::chrono::nanoseconds cpu_time{0};  ///< Of its processor, in user mode and in the kernel.
  std::uint64_t memory = 0;          ///< Resident at most, in bytes.
};

/// Runs a command to its end. Throws `failure` if the program cannot be started. If an `interruption` comes, the
/// command and what it has started get SIGTERM, and SIGKILL if they do not end soon. It throws `interrupted` then. The
/// command also gets SIGTERM when this process ends in any other way.
[[nodiscard]] child_result run_child(const child_command& command);

/// The path of a program that is on PATH, or that is one.
[[nodiscard]] std::optional<std::string> find_program(const std::string& name);

/// The path of this tool.
[[nodiscard]] const std::string& own_path();

}  // namespace tool
