// SPDX-License-Identifier: Apache-2.0
#include "json_error.hh"

#include "encoding.hh"
#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string_view>

namespace tool {

using nlohmann::json;

std::string message_of(const std::exception& e) {
  std::string_view text = e.what();
  if (dynamic_cast<const json::exception*>(&e) == nullptr) {
    return std::string(text);
  }
  // As in "[json.exception.parse_error.101] parse error at line 1, column 2: …".
  if (const auto end = text.find("] "); text.starts_with('[') && end != text.npos) {
    text.remove_prefix(end + 2);
  }
  constexpr std::string_view at = "parse error at ";
  if (text.starts_with(at)) {
    return fmt::format("no valid JSON: {}", printable(text.substr(at.size())));
  }
  return fmt::format("JSON that is not as expected: {}", printable(text));
}

json parse_file(const std::string& path, const std::string& text) {
  try {
    return json::parse(text);
  } catch (const json::exception& e) {
    throw failure(exit_code::usage, fmt::format("{}: {}", path, message_of(e)));
  }
}

}  // namespace tool
