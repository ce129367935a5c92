// SPDX-License-Identifier: Apache-2.0
//
// The options of wasm-transform as plain data, for those who describe them: the manual page and the completions.
#pragma once

#include <string>
#include <vector>

namespace tool {

struct option {
  std::vector<std::string> names;   ///< `--output` and `-o`. Of an argument without a name: its name, as in GUEST.
  std::string text;                 ///< What its value is, as in FILE. Empty: it has none.
  std::string description;
  std::vector<std::string> values;  ///< All that are allowed. Empty: there are too many.
  bool required = false;

  [[nodiscard]] bool takes_file() const { return text.starts_with("FILE"); }
  [[nodiscard]] bool takes_directory() const { return text == "DIR"; }
};

/// A subcommand, or the tool itself.
struct command {
  std::string name;
  std::string description;
  std::string footer;
  std::vector<option> arguments;  ///< In the order in which they are given.
  std::vector<option> options;
};

struct command_line {
  command tool;
  std::vector<command> commands;
};

/// What the parser of the command line knows.
[[nodiscard]] command_line read_command_line();

}  // namespace tool
