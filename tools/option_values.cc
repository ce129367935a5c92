// SPDX-License-Identifier: Apache-2.0
#include "option_values.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace tool {

CLI::Validator size_value() { return CLI::AsSizeValue(false); }

CLI::Validator duration_value() {
  static const std::map<std::string, double> units = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}};
  return CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::UNIT_REQUIRED, "TIME");
}

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

[[noreturn]] void wrong(const std::string& message) {
  throw failure(exit_code::usage, fmt::format("{}\nRun with --help for more information.", message));
}

}  // namespace tool
