// SPDX-License-Identifier: Apache-2.0
#include "test_case.hh"

#include "../exit_code.hh"
#include "../file.hh"

#include <fmt/format.h>

#include <algorithm>

namespace tool {

namespace {

namespace fs = std::filesystem;

/// Lines of a file with neither blank ones nor comments. None without the file.
std::optional<std::vector<std::string>> settings_of(const fs::path& file) {
  if (!fs::exists(file)) {
    return std::nullopt;
  }
  auto lines = split_lines(read_text(file));
  std::erase_if(lines, [](const std::string& line) { return line.empty() || line.starts_with('#'); });
  return lines;
}

void append(std::vector<std::string>& to, const std::optional<std::vector<std::string>>& more) {
  if (more) {
    to.insert(to.end(), more->begin(), more->end());
  }
}

test_case read_case(const fs::path& directory, const std::string& name) {
  test_case one;
  one.name = name;
  one.base = directory / name;
  one.output = fs::exists(one.file(".out")) ? read_text(one.file(".out")) : "";
  append(one.environment, settings_of(directory / "all.env"));
  append(one.environment, settings_of(one.file(".env")));
  append(one.arguments, settings_of(directory / "all.args"));
  append(one.arguments, settings_of(one.file(".args")));
  one.dead_letters = settings_of(one.file(".dead"));
  one.failure = settings_of(one.file(".fail"));
  if (one.dead_letters && one.failure) {
    throw failure(exit_code::usage, fmt::format("{0}.dead and {0}.fail are for different policies: a case has one of them", one.base.string()));
  }
  return one;
}

}  // namespace

std::vector<test_case> read_cases(const fs::path& directory, const std::vector<std::string>& names) {
  std::error_code error;
  auto found = names;
  if (names.empty()) {
    for (const auto& file : fs::directory_iterator(directory, error)) {
      if (file.path().extension() == ".in") {
        found.push_back(file.path().stem());
      }
    }
    std::sort(found.begin(), found.end());
  }
  if (found.empty()) {
    throw failure(exit_code::usage, fmt::format("there are no cases in {}: NAME.in, with NAME.out for what must come out",
                                                directory.string()));
  }
  std::vector<test_case> cases;
  for (const auto& name : found) {
    if (!fs::exists(directory / (name + ".in"), error)) {
      throw failure(exit_code::usage, fmt::format("there is no case \"{0}\": {1}/{0}.in is not there", name, directory.string()));
    }
    cases.push_back(read_case(directory, name));
  }
  return cases;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace tool
