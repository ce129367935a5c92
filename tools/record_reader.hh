// SPDX-License-Identifier: Apache-2.0
//
// Lines of text to records.
#pragma once

#include "encoding.hh"
#include "json_reader.hh"
#include "record.hh"

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// Used by one thread.
class record_reader {
 public:
  struct settings {
    format shape = format::lines;
    encoding text = encoding::utf8;
    std::string key_field;      ///< json, csv: the member that is the key. Empty for null keys.
    std::string headers_field;  ///< json: the member that has the headers. Empty for none.
    std::optional<std::string> input_topic;  ///< records: the required topic if they have one.
    char separator = ',';                    ///< csv
    const std::vector<std::string>* columns = nullptr;  ///< csv: their names.
  };

  explicit record_reader(settings s) : _settings(std::move(s)) {}

  /// Whether the line has no record: a blank one of JSON or CSV.
  [[nodiscard]] static bool is_blank(format shape, std::string_view line) noexcept {
    return shape != format::lines && line.find_first_not_of(" \t\r\n") == line.npos;
  }

  /// The record. Lives until `clear` and as long as `line`, behind which `line_reader::padding` can be read. Throws
  /// `failure` with a message that does not name the line.
  [[nodiscard]] record read(std::string_view line);
  /// Ends the lives of records.
  void clear() noexcept { _owned.clear(); }

 private:
  record read_json(std::string_view line);
  record read_object(std::string_view line);
  record read_row(std::string_view line);
  std::string_view keep(std::string text) { return _owned.emplace_back(std::move(text)); }
  std::string_view decoded(std::string_view text, encoding from, const char* what);
  std::string_view decoded(std::string_view text, const char* what) { return decoded(text, _settings.text, what); }
  wasmengine::field text_of(json_value value, const char* name);
  void read_headers(json_value headers, record& to);
  void read_flat_headers(json_value headers, record& to);
  void check_topic(const wasmengine::field& topic) const;

  settings _settings;
  json_reader _json;
  std::deque<std::string> _owned;
};

}  // namespace tool
