// SPDX-License-Identifier: Apache-2.0
#include "json_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <system_error>

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

/// What nlohmann's parser, which is slower and tells more, says of a text that simdjson has refused.
struct judge : nlohmann::json_sax<json> {
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& token) override {
    return token.find_first_of(".eE") != token.npos || large(token);
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t& name) override {
    _key = name;
    return true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string& token, const json::exception& e) override {
    // A number that is too large for a double is a number nevertheless.
    if (const auto* error = dynamic_cast<const json::parse_error*>(&e)) {
      refuse(fmt::format("not valid JSON: {}", reason_of(*error)));
    }
    return large(token);
  }

  std::optional<std::string> first;  ///< The first number that is too large, and where it is.

 private:
  /// Stops the parser.
  bool large(const std::string& token) {
    first = fmt::format("{}the number {} is beyond 64 bits", _key.empty() ? "" : fmt::format("\"{}\": ", excerpt(_key)), excerpt(token));
    return false;
  }

  std::string _key;
};

/// Throws the reason if nlohmann too says that the text is wrong. It tells what is, and takes longer. Returns what the
/// text has that simdjson does not take, if it is a number.
std::optional<std::string> find_fault(std::string_view text) {
  // It would pass over a mark of UTF-8, which is none within the input.
  if (text.starts_with("\xef\xbb\xbf")) {
    refuse("not valid JSON: column 1: it begins with the byte order mark of UTF-8, which is left out at the beginning "
           "of the input only");
  }
  judge sax;
  json::sax_parse(text, &sax);
  return sax.first;
}

/// Whether simdjson takes a number.
bool fits(std::string_view token) {
  const auto* end = token.data() + token.size();
  const auto takes = [&](auto number) {
    const auto read = std::from_chars(token.data(), end, number);
    return read.ec == std::errc() && read.ptr == end;
  };
  return takes(std::int64_t{0}) || takes(std::uint64_t{0}) || (token.find_first_of(".eE") != token.npos && takes(0.0));
}

/// The text, which is JSON, with quotes around numbers that are too large.
std::string with_quoted_numbers(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      auto end = at + 1;
      for (; end < text.size() && text[end] != '"'; ++end) {
        end += text[end] == '\\' ? 1 : 0;
      }
      out += text.substr(at, end + 1 - at);
      at = end + 1;
    } else if (text[at] == '-' || (text[at] >= '0' && text[at] <= '9')) {
      const auto token = text.substr(at, text.find_first_not_of("+-.0123456789eE", at) - at);
      out += fits(token) ? std::string(token) : fmt::format("\"{}\"", token);
      at += token.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace

void json_reader::check(std::string_view text) {
  simdjson::dom::element value;
  if (_parser.parse(text.data(), text.size(), false).get(value) != simdjson::SUCCESS) {
    // Stops at a number that is too large: what is behind it is looked at without it.
    if (find_fault(text)) {
      (void)parse(text, large_numbers::as_text);
    }
  }
}

json_value json_reader::parse(std::string_view text, large_numbers numbers) {
  simdjson::dom::element value;
  auto error = _parser.parse(text.data(), text.size(), false).get(value);
  if (error == simdjson::SUCCESS) {
    return value;
  }
  const auto large = find_fault(text);
  if (large && numbers == large_numbers::refused) {
    refuse(*large);
  }
  if (large) {
    _rewritten = with_quoted_numbers(text);
    error = _parser.parse(_rewritten).get(value);  // which pads it
    if (error == simdjson::SUCCESS) {
      return value;
    }
    (void)find_fault(_rewritten);
  }
  refuse(fmt::format("not JSON that can be taken apart: {}", simdjson::error_message(error)));
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
