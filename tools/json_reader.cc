// SPDX-License-Identifier: Apache-2.0
#include "json_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tool {

namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& message) { throw failure(exit_code::bad_input, message); }

/// The message of nlohmann without its prefix about exception numbers and "line 1".
std::string reason_of(const json::parse_error& e) {
  std::string_view text = e.what();
  if (const auto at = text.find("column "); at != text.npos) {
    text = text.substr(at);
  } else if (const auto end = text.find("] "); end != text.npos) {
    text = text.substr(end + 2);
  }
  return excerpt(text);
}

/// Throws the reason if nlohmann too says that the text is wrong. It tells what is, and takes longer.
void find_fault(std::string_view text) {
  // It would pass over a mark of UTF-8, which is none within the input.
  if (text.starts_with("\xef\xbb\xbf")) {
    refuse("not valid JSON: column 1: it begins with the byte order mark of UTF-8, which is left out at the beginning "
           "of the input only");
  }
  struct judge : nlohmann::json_sax<json> {
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return true; }
    bool key(string_t&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t, const std::string&, const json::exception& e) override {
      // A number that is too large for a double is a number nevertheless.
      if (const auto* error = dynamic_cast<const json::parse_error*>(&e)) {
        refuse(fmt::format("not valid JSON: {}", reason_of(*error)));
      }
      return false;
    }
  } sax;
  json::sax_parse(text, &sax);
}

}  // namespace

void json_reader::check(std::string_view text) {
  simdjson::dom::element value;
  if (_parser.parse(text.data(), text.size(), false).get(value) != simdjson::SUCCESS) {
    find_fault(text);
  }
}

json_value json_reader::parse(std::string_view text) {
  simdjson::dom::element value;
  if (const auto error = _parser.parse(text.data(), text.size(), false).get(value); error != simdjson::SUCCESS) {
    find_fault(text);
    refuse(fmt::format("not JSON that can be taken apart: {}", simdjson::error_message(error)));
  }
  return value;
}

const char* type_name(json_value value) {
  switch (value.type()) {
    case simdjson::dom::element_type::OBJECT:
      return "object";
    case simdjson::dom::element_type::ARRAY:
      return "array";
    case simdjson::dom::element_type::STRING:
      return "string";
    case simdjson::dom::element_type::BOOL:
      return "boolean";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    default:
      return "number";
  }
}

std::int64_t integer_of(json_value value, const char* name, std::int64_t least, std::int64_t greatest) {
  std::int64_t number = 0;
  if (value.get_int64().get(number) != simdjson::SUCCESS || number < least || number > greatest) {
    refuse(fmt::format("\"{}\" must be an integer from {} to {}, but is {}", name, least, greatest,
                       excerpt(simdjson::minify(value))));
  }
  return number;
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t enough = 200;
  return text.size() <= enough ? std::string(text) : fmt::format("{}…", text.substr(0, enough));
}

}  // namespace tool
