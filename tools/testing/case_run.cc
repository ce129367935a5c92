// SPDX-License-Identifier: Apache-2.0
#include "case_run.hh"

#include "dead_letters.hh"
#include "line_diff.hh"

#include "../child.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../guest_run.hh"
#include "../output_files.hh"

#include <fmt/format.h>

namespace tool {

namespace {

namespace fs = std::filesystem;

std::string read_if_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? read_text(file) : "";
}

void write(const fs::path& to, const std::string& text) {
  output_file file(to);
  file.write(text);
  file.commit();
}

child_command command_of(const test_case& one, const case_settings& s, const fs::path& out, const fs::path& dead) {
  child_command command;
  command.arguments = {own_path(), "run", s.module, one.file(".in"), "--output", out};
  auto& arguments = command.arguments;
  // What comes out must be the same each time. The case may say otherwise.
  arguments.insert(arguments.end(), {"--default-timestamp", "0"});
  if (!is_remote(s.arguments) && !is_remote(one.arguments)) {
    arguments.insert(arguments.end(), {"--seed", "1"});
  }
  arguments.insert(arguments.end(), s.arguments.begin(), s.arguments.end());
  for (const auto& variable : one.environment) {
    arguments.insert(arguments.end(), {"--env", variable});
  }
  arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
  if (one.dead_letters) {
    arguments.insert(arguments.end(), {"--on-error", "dead-letter", "--dead-letter", dead, "--max-errors", "100%"});
  }
  return command;
}

/// Why the end of the run is not the expected one. Empty if it is.
std::string judge_end(const test_case& one, const child_result& ended) {
  if (!one.failure) {
    return ended.code == 0 ? "" : fmt::format("the run ended with exit code {}:\n{}", ended.code, ended.errors);
  }
  if (ended.code != static_cast<int>(exit_code::guest_failed)) {
    return fmt::format("it must fail, with exit code 4, and ended with {}:\n{}", ended.code, ended.errors);
  }
  for (const auto& part : *one.failure) {
    if (ended.errors.find(part) == ended.errors.npos) {
      return fmt::format("it must fail with \"{}\" and failed so:\n{}", part, ended.errors);
    }
  }
  return "";
}

}  // namespace

case_result run_case(const test_case& one, const case_settings& s) {
  const auto out = s.scratch / (one.name + ".out");
  const auto dead = s.scratch / (one.name + ".dead");
  const auto ended = run_child(command_of(one, s, out, dead));
  case_result result{one.name, judge_end(one, ended), "", ended.time};
  const auto output = read_if_there(out);
  const auto letters = split_lines(read_if_there(dead));
  if (s.update && result.message.empty()) {
    if (output != one.output || !fs::exists(one.file(".out"))) {
      write(one.file(".out"), output);
    }
    if (one.dead_letters && !compare_dead_letters(*one.dead_letters, letters).empty()) {
      write(one.file(".dead"), expectation_of(letters));
    }
    return result;
  }
  const auto letter_difference = one.dead_letters ? compare_dead_letters(*one.dead_letters, letters) : "";
  const auto told = [&](bool coloured) {
    const auto difference = line_diff(one.output, output, coloured);
    const auto head = fmt::format("{} (-) and what came out (+) differ:\n", one.file(".out").string());
    return result.message + (difference.empty() ? "" : head + difference) + letter_difference;
  };
  result.coloured = told(true);
  result.message = told(false);
  return result;
}

}  // namespace tool
