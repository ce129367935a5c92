// SPDX-License-Identifier: Apache-2.0
#include "record_writer.hh"

#include "exit_code.hh"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iterator>
#include <utility>

namespace tool {

namespace {
std::string json_text(std::string_view text) { return nlohmann::json(text).dump(); }
}  // namespace

record_writer::record_writer(format shape, encoding text, const std::vector<std::string>& topics, std::string origin)
    : _shape(shape), _text(text), _origin(std::move(origin)) {
  for (const auto& topic : topics) {
    _topics.push_back(json_text(topic));
  }
}

void record_writer::write(const wasmengine::output_record& written, std::optional<std::int32_t> partition,
                          std::string& out) const {
  const auto p = wasmengine::payload::read(written.payload()).value();
  if (_shape != format::records) {
    write_value(p, out);
    return;
  }
  out += R"({"topic":)";
  out += _topics.at(written.topic());
  out += R"(,"key":)";
  quote(p.key, "a key", out);
  out += R"(,"value":)";
  quote(p.value, "a value", out);
  out += R"(,"headers":[)";
  for (const char* separator = ""; const auto& header : p.headers) {
    out += separator;
    out += R"({"key":)";
    try {
      out += json_text(header.key);
    } catch (const nlohmann::json::type_error&) {
      throw failure(exit_code::guest_failed, fmt::format("{} a header whose key is not valid UTF-8", _origin));
    }
    out += R"(,"value":)";
    quote(header.value, "a header's value", out);
    out += '}';
    separator = ",";
  }
  fmt::format_to(std::back_inserter(out), R"(],"timestamp":{})", written.input_timestamp());
  if (partition) {
    fmt::format_to(std::back_inserter(out), R"(,"partition":{})", *partition);
  }
  out += "}\n";
}

/// Only the value. Null is an empty line or JSON's null.
void record_writer::write_value(const wasmengine::payload& p, std::string& out) const {
  const auto begin = out.size();
  if (p.value) {
    encode(_text, *p.value, out);
    if (out.find('\n', begin) != out.npos) {
      throw failure(exit_code::guest_failed,
                    _shape == format::json
                        ? "the guest wrote a value with a newline in it, which would be several lines of output; use "
                          "--format records"
                        : "the guest wrote a value with a newline in it, which would be several lines of output; use "
                          "--format records, or --encoding base64 or hex");
    }
  } else if (_shape == format::json) {
    out += "null";
  }
  out += '\n';
}

void record_writer::quote(std::string_view bytes, const char* what, std::string& out) const {
  if (_text != encoding::utf8) {
    out += '"';
    encode(_text, bytes, out);
    out += '"';
    return;
  }
  try {
    out += json_text(bytes);
  } catch (const nlohmann::json::type_error&) {
    throw failure(exit_code::guest_failed,
                  fmt::format("{} {} that is not valid UTF-8; use --encoding base64 or hex", _origin, what));
  }
}

void record_writer::quote(const wasmengine::field& bytes, const char* what, std::string& out) const {
  if (bytes) {
    quote(*bytes, what, out);
  } else {
    out += "null";
  }
}

}  // namespace tool
