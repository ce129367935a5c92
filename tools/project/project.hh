// SPDX-License-Identifier: Apache-2.0
//
// A directory with the source of a transform.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tool {

enum class language { c, cpp, rust, go, js };

/// Their names on the command line and in `transform.json`.
[[nodiscard]] const std::map<std::string, language>& languages();
[[nodiscard]] const std::string& name_of(language l);

/// What `transform.json` says, or what the files say if there is none.
struct project {
  std::filesystem::path directory;
  std::string name;
  tool::language language = language::c;
  std::string input_topic = "input";
  std::vector<std::string> output_topics = {"output"};
  std::vector<std::pair<std::string, std::string>> environment;

  /// Where `build` puts the module.
  [[nodiscard]] std::filesystem::path module() const { return directory / "build" / (name + ".wasm"); }
};

/// Name of the file that describes a project.
inline constexpr const char* manifest_name = "transform.json";

/// Reads the project in a directory. Throws `failure`.
[[nodiscard]] project read_project(const std::filesystem::path& directory);

/// Why it is no name of a transform. Empty if it is one.
[[nodiscard]] std::string wrong_with_name(const std::string& name);

}  // namespace tool
