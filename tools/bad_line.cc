// SPDX-License-Identifier: Apache-2.0
#include "bad_line.hh"

#include "csv.hh"
#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace tool {

namespace {

using nlohmann::ordered_json;

const char* name_of(format f) {
  switch (f) {
    case format::json:
      return "json";
    case format::records:
      return "records";
    case format::kcat:
      return "kcat";
    case format::rpk:
      return "rpk";
    case format::csv:
      return "csv";
    case format::lines:
    case format::batches:
      break;
  }
  return "lines";
}

}  // namespace

std::string how_read(const record_reader::settings& s) {
  ordered_json how = {{"format", name_of(s.shape)}};
  if (!s.key_field.empty()) {
    how["key_field"] = s.key_field;
  }
  if (!s.headers_field.empty()) {
    how["headers_field"] = s.headers_field;
  }
  if (s.shape == format::csv) {
    how["separator"] = std::string(1, s.separator);
    how["columns"] = *s.columns;
  }
  return how.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

line_input input_of_line(const std::string& how, const std::string& line) {
  try {
    const auto parsed = ordered_json::parse(how);
    line_input input;
    input.options = {"--input-format", parsed.at("format").get<std::string>(), "--output-format", "records"};
    for (const auto& [name, option] : {std::pair("key_field", "--key-field"), std::pair("headers_field", "--headers-field"),
                                       std::pair("separator", "--separator")}) {
      if (parsed.contains(name)) {
        input.options.push_back(fmt::format("{}={}", option, parsed.at(name).get<std::string>()));
      }
    }
    if (parsed.contains("columns")) {
      const auto separator = parsed.at("separator").get<std::string>();
      input.text = row_of(parsed.at("columns").get<std::vector<std::string>>(), separator.at(0));
    }
    input.text += line;
    if (input.options[1] == name_of(format::lines)) {
      // With another delimiter. A line is bad by its encoding only, of which neither byte is.
      std::replace(input.text.begin(), input.text.end(), '\n', ' ');
    }
    input.text += '\n';
    return input;
  } catch (const std::exception&) {
    throw failure(exit_code::bad_input, fmt::format("the header {} does not say how the line was read", how_read_header));
  }
}

}  // namespace tool
