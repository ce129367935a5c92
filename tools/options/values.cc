// SPDX-License-Identifier: Apache-2.0
#include "values.hh"

#include "../exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace tool {

const char* const exit_codes =
    "Exit codes:\n"
    "  0  done\n"
    "  1  any other failure, such as a full disk\n"
    "  2  wrong usage\n"
    "  3  the module was refused\n"
    "  4  the guest failed or wrote what the output format cannot express; the output of the records before that is\n"
    "     kept, with several threads or partitions also that of some after it; not for records that --on-error loses\n"
    "  5  bad input data; output files are not written, standard output has the output before that\n"
    "  6  --on-error lost more records than --max-errors allows; the output of the others is kept\n"
    "  7  test, diff, bench, replay: not as expected, such as a case that failed or outputs that differ\n";

/// `64MiB`, `65536`.
CLI::Validator size_value() { return CLI::AsSizeValue(false); }

/// `3s`, `500ms`, to nanoseconds.
CLI::Validator duration_value() {
  static const std::map<std::string, double> units = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}};
  return CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::UNIT_REQUIRED, "TIME");
}

/// What Kafka allows. So a topic's name is also a file's.
CLI::Validator topic_name() {
  return {[](std::string& topic) -> std::string {
            const bool legal = !topic.empty() && topic.size() <= 249 && topic != "." && topic != ".." &&
                               std::all_of(topic.begin(), topic.end(), [](unsigned char c) {
                                 return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
                               });
            return legal
                       ? ""
                       : fmt::format("\"{}\" is no topic name: letters, digits, '.', '_' and '-', at most 249", topic);
          },
          "TOPIC"};
}

CLI::Validator assignment() {
  return {[](std::string& text) -> std::string {
            const auto equals = text.find('=');
            return equals != 0 && equals != text.npos ? "" : fmt::format("\"{}\" is not of the form NAME=VALUE", text);
          },
          "NAME=VALUE"};
}

void add_compile_helper(CLI::App& command, std::string& program) {
  command
      .add_option("--compile-helper", program,
                  "Compiles the module in a process of its own, which may take 60 s of processor time and 2 GiB: the path "
                  "of wasm-compile-helper (default: none)")
      ->option_text("PATH");
}

void add_guest(CLI::App& command, std::string& guest) {
  command.add_option("GUEST", guest, "The module, such as transform.wasm")
      ->required()
      ->check(CLI::ExistingFile)
      ->option_text("FILE");
}

void add_memory_limit(CLI::App& command, std::uint64_t& limit) {
  command.add_option("--memory-limit", limit, "Linear memory of one guest at most, such as 64MiB (the default)")
      ->transform(size_value())
      ->option_text("SIZE");
}

void add_rights(CLI::App& command, rights& allowed) {
  static const std::map<std::string, wasm_wasi_right> names = {
      {"none", WASM_WASI_RIGHT_BASE},   {"arguments", WASM_WASI_RIGHT_ARGUMENTS}, {"environment", WASM_WASI_RIGHT_ENVIRONMENT},
      {"clocks", WASM_WASI_RIGHT_CLOCKS}, {"random", WASM_WASI_RIGHT_RANDOM},       {"output", WASM_WASI_RIGHT_OUTPUT},
      {"sleep", WASM_WASI_RIGHT_SLEEP},   {"files", WASM_WASI_RIGHT_FILES},         {"sockets", WASM_WASI_RIGHT_SOCKETS}};
  command
      .add_option("--allow", allowed.allow,
                  "What the module may import beside records and WASI, such as redpanda_schema_registry or "
                  "MODULE.FUNCTION; repeat for more, none for nothing (default: everything)")
      ->option_text("MODULE[.FUNCTION]")
      ->allow_extra_args(false);
  command
      .add_option_function<std::vector<std::string>>(
          "--wasi",
          [&allowed](const std::vector<std::string>& words) {
            for (const auto& word : words) {
              const auto found = names.find(word);
              if (found == names.end()) {
                throw CLI::ValidationError("--wasi", fmt::format("\"{}\" is no right", word));
              }
              allowed.wasi |= found->second;
            }
          },
          "What the module may import of WASI: a list of arguments, environment, clocks, random, output, sleep, files "
          "and sockets, or none (default: all)")
      ->delimiter(',')
      ->option_text("LIST")
      ->allow_extra_args(false);
}

void wrong(const std::string& message) {
  throw failure(exit_code::usage, fmt::format("{}\nRun with --help for more information.", message));
}

}  // namespace tool
