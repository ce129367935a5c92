// SPDX-License-Identifier: Apache-2.0
//
// A case: an input, and what must come of it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tool {

struct test_case {
  std::string name;
  std::filesystem::path base;  ///< Its files without their endings.
  std::string output;          ///< What must come out.
  std::vector<std::string> environment;  ///< `NAME=VALUE`.
  std::vector<std::string> arguments;    ///< Of `run`.
  std::optional<std::vector<std::string>> dead_letters;
  std::optional<std::vector<std::string>> failure;  ///< Parts of its message.

  [[nodiscard]] std::filesystem::path file(const char* ending) const { return base.string() + ending; }
};

/// Reads the cases of a directory, by name. `names` chooses some. Throws `failure` if one of them is not there.
[[nodiscard]] std::vector<test_case> read_cases(const std::filesystem::path& directory, const std::vector<std::string>& names);

/// Lines without their ends. A last line may lack its end.
[[nodiscard]] std::vector<std::string> split_lines(std::string_view text);

}  // namespace tool
