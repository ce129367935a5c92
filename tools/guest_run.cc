// SPDX-License-Identifier: Apache-2.0
#include "guest_run.hh"

#include "exit_code.hh"
#include "options.hh"

#include <fmt/format.h>

#include <algorithm>

namespace tool {

namespace {

constexpr std::string_view own_name = "wasm-transform: ";

}  // namespace

std::string compile_once(const std::string& module, const std::filesystem::path& scratch) {
  if (module.ends_with(compiled_suffix)) {
    return module;
  }
  static int number = 0;
  const auto compiled = scratch / fmt::format("guest-{}{}", ++number, compiled_suffix);
  child_command command;
  command.arguments = {own_path(), "precompile", module, "--output", compiled};
  if (const auto done = run_child(command); done.code != 0) {
    throw failure(static_cast<exit_code>(done.code), message_of(done));
  }
  return compiled;
}

child_result run_guest(const std::string& module, const std::string& input, const std::filesystem::path& output,
                       const std::vector<std::string>& arguments) {
  child_command command;
  command.arguments = {own_path(), "run", module, input, "--output", output};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  return run_child(command);
}

std::string message_of(const child_result& ended) {
  // The last of its lines that begin with the name, and what is indented below.
  const auto last = ended.errors.rfind("\n" + std::string(own_name));
  auto text = last != ended.errors.npos ? ended.errors.substr(last + 1) : ended.errors;
  text.erase(0, text.starts_with(own_name) ? own_name.size() : 0);
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

bool is_remote(const std::vector<std::string>& arguments) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [](const std::string& a) { return a == "--remote" || a.starts_with("--remote="); });
}

}  // namespace tool
