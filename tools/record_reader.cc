// SPDX-License-Identifier: Apache-2.0
#include "record_reader.hh"

#include "csv.hh"
#include "exit_code.hh"
#include "json_text.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace tool {

namespace {

using simdjson::dom::element_type;

[[noreturn]] void refuse(const std::string& message) { throw failure(exit_code::bad_input, message); }

/// The members of records, and which shapes have them.
enum class member : std::uint8_t {
  topic, key, value, headers, timestamp, partition, offset, key_base64, value_base64, ignored
};
enum shapes : std::uint8_t { own = 1, kcat = 2, rpk = 4 };
struct known_member {
  std::string_view name;
  member what;
  std::uint8_t in;
};
constexpr std::array known_members = {
    known_member{"topic", member::topic, own | kcat | rpk},
    known_member{"key", member::key, own | kcat | rpk},
    known_member{"value", member::value, own | rpk},
    known_member{"headers", member::headers, own | kcat | rpk},
    known_member{"timestamp", member::timestamp, own | rpk},
    known_member{"partition", member::partition, own | kcat | rpk},
    known_member{"offset", member::offset, own | kcat | rpk},
    known_member{"payload", member::value, kcat},
    known_member{"ts", member::timestamp, kcat},
    known_member{"key_base64", member::key_base64, own},
    known_member{"value_base64", member::value_base64, own},
    // Of what the tool itself writes if asked to, and of what says nothing about the record.
    known_member{"input_offset", member::ignored, own},
    known_member{"input_index", member::ignored, own},
    known_member{"ordinal", member::ignored, own},
    known_member{"tstype", member::ignored, kcat},
    known_member{"broker", member::ignored, kcat},
};

std::uint8_t shapes_of(format f) { return f == format::kcat ? kcat : f == format::rpk ? rpk : own | kcat | rpk; }

const char* name_of_shapes(std::uint8_t shapes) {
  return shapes == kcat ? "a record of kcat" : shapes == rpk ? "a record of rpk" : "a record";
}

}  // namespace

record record_reader::read(std::string_view line) {
  switch (_settings.shape) {
    case format::json:
      return read_json(line);
    case format::csv:
      return read_row(line);
    case format::records:
    case format::kcat:
    case format::rpk:
      return read_object(line);
    default:
      record read{};
      read.payload.value = decoded(line, "the line");
      return read;
  }
}

record record_reader::read_json(std::string_view line) {
  record read{};
  read.payload.value = line;
  if (_settings.key_field.empty() && _settings.headers_field.empty()) {
    _json.check(line);
    return read;
  }
  const auto parsed = _json.parse(line, large_numbers::as_text);
  if (!parsed.is_object()) {
    const bool key = !_settings.key_field.empty();
    refuse(fmt::format("not a JSON object but {}, so there is no member \"{}\" to be the {}", type_name(parsed),
                       key ? _settings.key_field : _settings.headers_field,
                       key ? "key (--key-field)" : "headers (--headers-field)"));
  }
  json_value found;
  if (!_settings.key_field.empty() && parsed.at_key(_settings.key_field).get(found) == simdjson::SUCCESS &&
      !found.is_null()) {
    std::string_view text;
    read.payload.key = keep(found.get_string().get(text) == simdjson::SUCCESS ? std::string(text)
                                                                              : std::string(simdjson::minify(found)));
  }
  if (!_settings.headers_field.empty() && parsed.at_key(_settings.headers_field).get(found) == simdjson::SUCCESS &&
      !found.is_null()) {
    if (!found.is_object()) {
      refuse(fmt::format("\"{}\" must be an object, whose members are the headers, but is {}", _settings.headers_field,
                         type_name(found)));
    }
    for (const auto& [name, value] : simdjson::dom::object(found)) {
      const auto key = keep(std::string(name));
      read.payload.headers.push_back({key, text_of(value, "a header")});
    }
  }
  return read;
}

record record_reader::read_object(std::string_view line) {
  constexpr auto max64 = std::numeric_limits<std::int64_t>::max();
  const auto parsed = _json.parse(line, large_numbers::refused);
  if (!parsed.is_object()) {
    refuse(
        fmt::format("not a record but a JSON {}; a record is an object with \"key\", \"value\", \"headers\" and so on",
                    type_name(parsed)));
  }
  record read{};
  std::uint32_t seen = 0;
  auto possible = shapes_of(_settings.shape);
  for (const auto& [name, value] : simdjson::dom::object(parsed)) {
    const auto known = std::find_if(known_members.begin(), known_members.end(), [&, n = name](const known_member& m) {
      return m.name == n && (m.in & possible) != 0;
    });
    if (known == known_members.end()) {
      refuse(fmt::format("{} has no member \"{}\"", name_of_shapes(possible), excerpt(name)));
    }
    possible &= known->in;
    if (known->what != member::ignored) {
      if ((std::exchange(seen, seen | 1U << static_cast<unsigned>(known->what)) & 1U << static_cast<unsigned>(known->what)) != 0) {
        refuse(fmt::format("the record has the member \"{}\" twice", known->name));
      }
    }
    const char* const n = known->name.data();
    if (value.is_null()) {
      continue;
    }
    switch (known->what) {
      case member::topic:
        check_topic(text_of(value, n));
        break;
      case member::key:
        read.payload.key = decoded(*text_of(value, n), "\"key\"");
        break;
      case member::value:
        read.payload.value = decoded(*text_of(value, n), known->in == kcat ? "\"payload\"" : "\"value\"");
        break;
      case member::key_base64:
        read.payload.key = decoded(*text_of(value, n), encoding::base64, "\"key_base64\"");
        break;
      case member::value_base64:
        read.payload.value = decoded(*text_of(value, n), encoding::base64, "\"value_base64\"");
        break;
      case member::headers:
        read_headers(value, read);
        break;
      case member::timestamp:
        read.timestamp = integer_of(value, n, -1, max64);
        break;
      case member::partition:
        read.partition =
            static_cast<std::int32_t>(integer_of(value, n, 0, std::numeric_limits<std::int32_t>::max()));
        break;
      case member::offset:
        read.offset = integer_of(value, n, 0, max64);
        break;
      case member::ignored:
        break;
    }
  }
  const auto has = [seen](member m) { return (seen & 1U << static_cast<unsigned>(m)) != 0; };
  if (has(member::key) && has(member::key_base64)) {
    refuse("the record has both \"key\" and \"key_base64\"");
  }
  if (has(member::value) && has(member::value_base64)) {
    refuse("the record has both \"value\" and \"value_base64\"");
  }
  return read;
}

/// A row becomes an object whose members are text.
record record_reader::read_row(std::string_view line) {
  const auto fields = split_row(line, _settings.separator);
  const auto& columns = *_settings.columns;
  if (fields.size() != columns.size()) {
    refuse(fmt::format("the row has {} fields, but the header has {}", fields.size(), columns.size()));
  }
  if (!is_utf8(line)) {
    refuse("the row is not valid UTF-8");
  }
  record read{};
  std::string object;
  object.reserve(2 * line.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    object += i == 0 ? '{' : ',';
    append_json(columns[i], object);
    object += ':';
    append_json(fields[i], object);
    if (columns[i] == _settings.key_field) {
      read.payload.key = keep(fields[i]);
    }
  }
  object += '}';
  read.payload.value = keep(std::move(object));
  return read;
}

/// Objects with key and value. kcat has a list in which key and value alternate, or an object of lists of values.
void record_reader::read_headers(json_value headers, record& to) {
  if (headers.is_object() && _settings.shape == format::kcat) {
    for (const auto& [name, values] : simdjson::dom::object(headers)) {
      const auto key = keep(std::string(name));
      if (!values.is_array()) {
        refuse("\"headers\" must have a list of values for each key");
      }
      for (const json_value value : simdjson::dom::array(values)) {
        to.payload.headers.push_back({key, text_of(value, "a header")});
      }
    }
    return;
  }
  if (!headers.is_array()) {
    refuse(fmt::format("\"headers\" must be an array, but is {}", type_name(headers)));
  }
  const simdjson::dom::array all = headers;
  const bool may_be_flat = _settings.shape == format::kcat || (_settings.shape == format::records && all.size() % 2 == 0);
  if (may_be_flat && all.begin() != all.end() && (*all.begin()).is_string()) {
    read_flat_headers(headers, to);
    return;
  }
  for (const json_value header : all) {
    constexpr const char* wanted = "each of \"headers\" must be an object with a text \"key\" and a text or null \"value\"";
    if (!header.is_object()) {
      refuse(wanted);
    }
    wasmengine::field key;
    wasmengine::field value;
    bool has_key = false;
    bool has_value = false;
    for (const auto& [name, part] : simdjson::dom::object(header)) {
      for (const auto& [its, has] : {std::pair(std::string_view("key"), &has_key), std::pair(std::string_view("value"), &has_value)}) {
        if (name.starts_with(its) && (name == its || name.substr(its.size()) == "_base64") && std::exchange(*has, true)) {
          refuse(fmt::format("a header has its {} twice", its));
        }
      }
      if (name == "key") {
        key = text_of(part, "key");
      } else if (name == "value") {
        value = text_of(part, "value");
        value = value ? wasmengine::field(decoded(*value, "a header's \"value\"")) : value;
      } else if (name == "key_base64" && !part.is_null()) {
        key = decoded(*text_of(part, "key_base64"), encoding::base64, "a header's \"key_base64\"");
      } else if (name == "value_base64" && !part.is_null()) {
        value = decoded(*text_of(part, "value_base64"), encoding::base64, "a header's \"value_base64\"");
      } else if (!part.is_null()) {
        refuse(fmt::format("a header has no member \"{}\"", excerpt(name)));
      }
    }
    if (!key) {
      refuse(wanted);
    }
    to.payload.headers.push_back({*key, value});
  }
}

void record_reader::read_flat_headers(json_value headers, record& to) {
  const simdjson::dom::array all = headers;
  std::optional<std::string_view> key;
  for (const json_value part : all) {
    const auto text = text_of(part, "headers");
    if (!key && !text) {
      refuse("a key in \"headers\" is null");
    }
    if (key) {
      to.payload.headers.push_back({*key, text ? wasmengine::field(decoded(*text, "a header's value")) : text});
      key.reset();
    } else {
      key = text;
    }
  }
  if (key) {
    refuse("\"headers\" is a list of keys and values, but the last key has no value");
  }
}

void record_reader::check_topic(const wasmengine::field& topic) const {
  if (topic && _settings.input_topic && *topic != *_settings.input_topic) {
    refuse(fmt::format("the record is from the topic \"{}\", but --input-topic is \"{}\"", excerpt(*topic),
                       *_settings.input_topic));
  }
}

/// A text that stays. None for null.
wasmengine::field record_reader::text_of(json_value value, const char* name) {
  if (value.is_null()) {
    return std::nullopt;
  }
  std::string_view text;
  if (value.get_string().get(text) != simdjson::SUCCESS) {
    refuse(fmt::format("\"{}\" must be text or null, but is {} {}", name,
                       value.is_object() || value.is_array() ? "an" : "a", type_name(value)));
  }
  return keep(std::string(text));
}

std::string_view record_reader::decoded(std::string_view text, encoding from, const char* what) {
  if (from == encoding::utf8) {
    return text;
  }
  auto bytes = decode(from, text);
  if (!bytes) {
    refuse(fmt::format("{} is not valid {}: {}", what, name_of(from), excerpt(text)));
  }
  return keep(std::move(*bytes));
}

}  // namespace tool
