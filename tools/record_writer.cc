// SPDX-License-Identifier: Apache-2.0
#include "record_writer.hh"

#include "csv.hh"
#include "exit_code.hh"
#include "json_reader.hh"
#include "json_text.hh"
#include "line_reader.hh"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace tool {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw failure(exit_code::guest_failed, message); }

/// A value that a guest wrote, parsed. Valid on the thread until the next call. `why` is what it is parsed for.
simdjson::dom::object object_in(std::string_view value, const char* why) {
  thread_local json_reader reader;
  thread_local std::string padded;
  padded.assign(value);
  padded.append(line_reader::padding, '\0');
  try {
    const auto parsed = reader.parse(std::string_view(padded).substr(0, value.size()), large_numbers::as_text);
    if (parsed.is_object()) {
      return parsed;
    }
    refuse(fmt::format("the guest wrote a value that is no JSON object but {}, so {}", type_name(parsed), why));
  } catch (const failure& e) {
    if (e.code() == exit_code::guest_failed) {
      throw;
    }
    refuse(fmt::format("the guest wrote a value that is {}, so {}", printable(e.what()), why));
  }
}

/// Refuses a value that is no JSON.
void check_json(std::string_view value) {
  thread_local json_reader reader;
  thread_local std::string padded;
  padded.assign(value);
  padded.append(line_reader::padding, '\0');
  try {
    reader.check(std::string_view(padded).substr(0, value.size()));
  } catch (const failure& e) {
    refuse(fmt::format("the guest wrote a value that is {}; use --output-format lines or records", printable(e.what())));
  }
}

}  // namespace

record_writer::record_writer(settings s) : _settings(std::move(s)) {
  for (const auto& topic : _settings.topics) {
    _topics.push_back(json_text(topic));
  }
}

void record_writer::write(const written_record& r, std::string& out) const {
  switch (_settings.shape) {
    case format::lines:
    case format::json:
      write_value(r, out);
      break;
    case format::csv:
      write_row(r, out);
      break;
    default:
      write_object(r, out);
  }
}

/// Only the value. Null is an empty line or JSON's null.
void record_writer::write_value(const written_record& r, std::string& out) const {
  const bool is_json = _settings.shape == format::json;
  const auto begin = out.size();
  if (r.value) {
    encode(_settings.text, *r.value, out);
    if (out.find(_settings.delimiter, begin) != out.npos) {
      if (_settings.delimiter != '\n') {
        refuse("the guest wrote a value with the delimiter in it, which would be several; use --format records, another "
               "--delimiter, or --encoding base64 or hex");
      }
      refuse(is_json ? "the guest wrote a value with a newline in it, which would be several lines of output; use "
                       "--format records"
                     : "the guest wrote a value with a newline in it, which would be several lines of output; use "
                       "--format records, or --encoding base64 or hex");
    }
    if (is_json && r.value != r.valid) {
      check_json(*r.value);
    }
    if (is_json && (!_settings.key_field.empty() || !_settings.headers_field.empty())) {
      add_members(r, begin, out);
    }
  } else if (is_json) {
    if (!_settings.key_field.empty() && r.key) {
      refuse("the guest wrote a record without a value, so there is no object for its key; use --format records");
    }
    out += "null";
  }
  out += _settings.delimiter;
}

/// Adds key and headers to the object that begins there. What the guest wrote is not reformatted, and a member that it
/// has already stays.
void record_writer::add_members(const written_record& r, std::size_t begin, std::string& out) const {
  const auto object = object_in(*r.value, "it cannot have the key or the headers as members");
  std::string added;
  const auto add = [&](const std::string& name) {
    added += json_text(name);
    added += ':';
  };
  const auto is_free = [&](const std::string& name) {
    return !name.empty() && object.at_key(name).error() != simdjson::SUCCESS;
  };
  const auto text = [](const wasmengine::field& bytes, const char* what) {
    if (bytes && !is_utf8(*bytes)) {
      refuse(fmt::format("the guest wrote {} that is not valid UTF-8; use --format records", what));
    }
    return bytes ? json_text(*bytes) : "null";
  };
  if (r.key && is_free(_settings.key_field)) {
    add(_settings.key_field);
    added += text(r.key, "a key") + ',';
  }
  if (!r.headers.empty() && is_free(_settings.headers_field)) {
    add(_settings.headers_field);
    for (char separator = '{'; const auto& h : r.headers) {
      added += std::exchange(separator, ',');
      added += text(wasmengine::payload::view(h.key), "a header") + ':';
      added += text(wasmengine::payload::view(h.value), "a header");
    }
    added += "},";
  }
  if (added.empty()) {
    return;
  }
  if (object.begin() == object.end()) {
    added.pop_back();
  }
  out.insert(out.find('{', begin) + 1, added);
}

void record_writer::write_object(const written_record& r, std::string& out) const {
  out += R"({"topic":)";
  out += _topics.at(r.topic);
  out += ',';
  member("key", r.key, "a key", out);
  out += ',';
  member("value", r.value, "a value", out);
  out += R"(,"headers":[)";
  for (const char* separator = ""; const auto& header : r.headers) {
    out += separator;
    const auto key = wasmengine::payload::view(header.key);
    out += '{';
    if (is_utf8(*key)) {
      out += R"("key":)";
      append_json(*key, out);
    } else if (_settings.any_bytes) {
      out += R"("key_base64":")";
      encode(encoding::base64, *key, out);
      out += '"';
    } else {
      refuse("the guest wrote a header whose key is not valid UTF-8");
    }
    out += ',';
    member("value", wasmengine::payload::view(header.value), "a header's value", out);
    out += '}';
    separator = ",";
  }
  fmt::format_to(std::back_inserter(out), R"(],"timestamp":{})", r.timestamp);
  if (r.partition) {
    fmt::format_to(std::back_inserter(out), R"(,"partition":{})", *r.partition);
  }
  if (_settings.origin) {
    fmt::format_to(std::back_inserter(out), R"(,"input_offset":{},"input_index":{},"ordinal":{})", r.offset, r.index,
                   r.ordinal);
  }
  out += "}\n";
}

/// The value's members by the columns' names.
void record_writer::write_row(const written_record& r, std::string& out) const {
  if (!r.value) {
    refuse("the guest wrote a record without a value, which is no row of CSV; use --output-format records");
  }
  const auto object = object_in(*r.value, "it is no row of CSV");
  auto& columns = *_settings.columns;
  if (!columns.known()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : object) {
      names.emplace_back(name);
    }
    if (const auto twice = find_twice(names)) {
      refuse(fmt::format("the guest wrote a value with the member \"{}\" twice, which cannot be two columns", excerpt(*twice)));
    }
    columns.set(std::move(names));
  }
  const auto& names = columns.names();
  std::size_t found = 0;
  const auto begin = out.size();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) {
      out += columns.separator();
    }
    json_value value;
    if (object.at_key(names[i]).get(value) != simdjson::SUCCESS) {
      continue;
    }
    ++found;
    std::string_view text;
    if (value.get_string().get(text) == simdjson::SUCCESS) {
      append_field(text, columns.separator(), out);
    } else if (!value.is_null()) {
      append_field(simdjson::minify(value), columns.separator(), out);
    }
  }
  if (found < object.size()) {
    for (const auto& [name, value] : object) {
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        refuse(fmt::format("the guest wrote a value with the member \"{}\", which is no column; --columns names them",
                           excerpt(name)));
      }
    }
  }
  if (out.size() == begin) {
    out += R"("")";  // an empty line would be no row
  }
  if (_settings.origin) {
    fmt::format_to(std::back_inserter(out), "{0}{1}{0}{2}{0}{3}", columns.separator(), r.offset, r.index, r.ordinal);
  }
  out += '\n';
}

void record_writer::member(const char* name, const wasmengine::field& bytes, const char* what, std::string& out) const {
  const bool is_text = _settings.text != encoding::utf8 || !bytes || is_utf8(*bytes);
  if (!is_text && !_settings.any_bytes) {
    refuse(fmt::format("the guest wrote {} that is not valid UTF-8; use --encoding base64 or hex", what));
  }
  out += '"';
  out += name;
  out += is_text ? "\":" : "_base64\":";
  if (!bytes) {
    out += "null";
  } else if (is_text && _settings.text == encoding::utf8) {
    append_json(*bytes, out);
  } else {
    out += '"';
    encode(is_text ? _settings.text : encoding::base64, *bytes, out);
    out += '"';
  }
}

}  // namespace tool
