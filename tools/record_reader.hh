// SPDX-License-Identifier: Apache-2.0
//
// Lines of text to records.
#pragma once

#include "encoding.hh"
#include "record.hh"

#include <nlohmann/json.hpp>

#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace tool {

/// Used by one thread.
class record_reader {
 public:
  struct settings {
    format shape = format::lines;
    encoding text = encoding::utf8;
    std::string key_field;                   ///< json: the member that is the key. Empty for null keys.
    std::optional<std::string> input_topic;  ///< records: the required topic if they have one.
  };

  explicit record_reader(settings s) : _settings(std::move(s)) {}

  /// The record. Lives until the next call and as long as `line`. None for a blank line between JSON lines. Throws
  /// `failure` with a message that does not name the line.
  [[nodiscard]] std::optional<record> read(std::string_view line);

 private:
  record read_json(std::string_view line);
  record read_record(std::string_view line);
  void parse(std::string_view line);
  wasmengine::field text_member(const nlohmann::json& object, const char* name);
  std::string_view decoded(std::string_view text, const char* what);

  settings _settings;
  nlohmann::json _parsed;
  std::deque<std::string> _decoded;
};

}  // namespace tool
