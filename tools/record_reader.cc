// SPDX-License-Identifier: Apache-2.0
#include "record_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace tool {

namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& message) { throw failure(exit_code::bad_input, message); }

std::string excerpt(std::string_view text) {
  constexpr std::size_t enough = 200;
  return text.size() <= enough ? std::string(text) : fmt::format("{}…", text.substr(0, enough));
}

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

/// An integer member between `least` and `greatest`. None if it is absent or null.
template <typename Int>
std::optional<Int> integer_member(const json& object, const char* name, Int least, Int greatest) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) {
    return std::nullopt;
  }
  const bool fits = found->is_number_unsigned() ? found->get<std::uint64_t>() <= static_cast<std::uint64_t>(greatest)
                                                : found->is_number_integer() && found->get<std::int64_t>() >= least;
  if (!fits) {
    refuse(fmt::format("\"{}\" must be an integer from {} to {}, but is {}", name, least, greatest,
                       excerpt(found->dump())));
  }
  return found->get<Int>();
}

}  // namespace

std::optional<record> record_reader::read(std::string_view line) {
  _decoded.clear();
  if (_settings.shape == format::lines) {
    record read{};
    read.payload.value = decoded(line, "the line");
    return read;
  }
  if (line.find_first_not_of(" \t\r") == line.npos) {
    return std::nullopt;
  }
  return _settings.shape == format::json ? read_json(line) : read_record(line);
}

record record_reader::read_json(std::string_view line) {
  record read{};
  read.payload.value = line;
  if (_settings.key_field.empty()) {
    if (!json::accept(line)) {
      parse(line);  // for the reason
    }
    return read;
  }
  parse(line);
  if (!_parsed.is_object()) {
    refuse(fmt::format("not a JSON object but {}, so there is no member \"{}\" to be the key (--key-field)",
                       _parsed.type_name(), _settings.key_field));
  }
  const auto key = _parsed.find(_settings.key_field);
  if (key == _parsed.end() || key->is_null()) {
    return read;
  }
  read.payload.key = key->is_string() ? key->get_ref<const std::string&>() : _decoded.emplace_back(key->dump());
  return read;
}

record record_reader::read_record(std::string_view line) {
  constexpr auto max64 = std::numeric_limits<std::int64_t>::max();
  parse(line);
  if (!_parsed.is_object()) {
    refuse(
        fmt::format("not a record but a JSON {}; a record is an object with \"key\", \"value\", \"headers\" and so on",
                    _parsed.type_name()));
  }
  const auto topic = text_member(_parsed, "topic");
  if (topic && _settings.input_topic && *topic != *_settings.input_topic) {
    refuse(fmt::format("the record is from the topic \"{}\", but --input-topic is \"{}\"", excerpt(*topic),
                       *_settings.input_topic));
  }
  record read{};
  if (const auto key = text_member(_parsed, "key")) {
    read.payload.key = decoded(*key, "\"key\"");
  }
  if (const auto value = text_member(_parsed, "value")) {
    read.payload.value = decoded(*value, "\"value\"");
  }
  if (const auto headers = _parsed.find("headers"); headers != _parsed.end() && !headers->is_null()) {
    if (!headers->is_array()) {
      refuse(fmt::format("\"headers\" must be an array, but is {}", headers->type_name()));
    }
    for (const auto& header : *headers) {
      const auto key = header.is_object() ? text_member(header, "key") : std::nullopt;
      if (!key) {
        refuse("each of \"headers\" must be an object with a text \"key\" and a text or null \"value\"");
      }
      auto value = text_member(header, "value");
      if (value) {
        value = decoded(*value, "a header's \"value\"");
      }
      read.payload.headers.push_back({*key, value});
    }
  }
  read.timestamp = integer_member<std::int64_t>(_parsed, "timestamp", -1, max64);
  read.partition = integer_member<std::int32_t>(_parsed, "partition", 0, std::numeric_limits<std::int32_t>::max());
  read.offset = integer_member<std::int64_t>(_parsed, "offset", 0, max64);
  return read;
}

void record_reader::parse(std::string_view line) {
  try {
    _parsed = json::parse(line);
  } catch (const json::parse_error& e) {
    refuse(fmt::format("not valid JSON: {}", reason_of(e)));
  }
}

/// A text member. Null if it is absent or null.
wasmengine::field record_reader::text_member(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) {
    return std::nullopt;
  }
  if (!found->is_string()) {
    refuse(fmt::format("\"{}\" must be text or null, but is {} {}", name, found->is_object() ? "an" : "a",
                       found->type_name()));
  }
  return found->get_ref<const std::string&>();
}

std::string_view record_reader::decoded(std::string_view text, const char* what) {
  if (_settings.text == encoding::utf8) {
    return text;
  }
  auto bytes = decode(_settings.text, text);
  if (!bytes) {
    refuse(fmt::format("{} is not valid {}: {}", what, name_of(_settings.text), excerpt(text)));
  }
  return _decoded.emplace_back(std::move(*bytes));
}

}  // namespace tool
