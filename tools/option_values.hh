// SPDX-License-Identifier: Apache-2.0
//
// What options take: sizes, times, names.
#pragma once

#include <CLI/CLI.hpp>

#include <map>
#include <string>

namespace tool {

/// `64MiB`, `65536`.
[[nodiscard]] CLI::Validator size_value();

/// `3s`, `500ms`, to nanoseconds.
[[nodiscard]] CLI::Validator duration_value();

/// What Kafka allows. So a topic's name is also a file's.
[[nodiscard]] CLI::Validator topic_name();

/// `NAME=VALUE`.
[[nodiscard]] CLI::Validator assignment();

/// The validator's name is what it allows, `a|b|c`, for the completions.
template <typename T>
CLI::Validator one_of(const std::map<std::string, T>& names) {
  std::string all;
  for (const auto& [name, value] : names) {
    all += (all.empty() ? "" : "|") + name;
  }
  return CLI::CheckedTransformer(names, CLI::ignore_case).name(all);
}

/// Ends the tool: the command line is wrong.
[[noreturn]] void wrong(const std::string& message);

}  // namespace tool
