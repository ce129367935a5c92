// SPDX-License-Identifier: Apache-2.0
//
// Values of options, and options that several commands have.
#pragma once

#include "../rights.hh"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <map>
#include <string>

namespace tool {

/// What a help text ends with.
extern const char* const exit_codes;

/// `64MiB`, `65536`.
[[nodiscard]] CLI::Validator size_value();
/// `3s`, `500ms`, to nanoseconds.
[[nodiscard]] CLI::Validator duration_value();
/// What Kafka allows. So a topic's name is also a file's.
[[nodiscard]] CLI::Validator topic_name();
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

void add_compile_helper(CLI::App& command, std::string& program);
void add_guest(CLI::App& command, std::string& guest);
void add_memory_limit(CLI::App& command, std::uint64_t& limit);
void add_rights(CLI::App& command, rights& allowed);

/// Throws `failure` of the code for wrong usage.
[[noreturn]] void wrong(const std::string& message);

}  // namespace tool
