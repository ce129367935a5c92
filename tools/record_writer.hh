// SPDX-License-Identifier: Apache-2.0
//
// Records to lines of text.
#pragma once

#include "csv_columns.hh"
#include "encoding.hh"
#include "record.hh"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A record of the output. All views are borrowed.
struct written_record {
  wasmengine::field key;
  wasmengine::field value;
  std::span<const wasm_header> headers;
  std::uint32_t topic = 0;
  std::int64_t timestamp = -1;  ///< Of the input record, as partition and offset.
  std::optional<std::int32_t> partition;
  std::int64_t offset = 0;
  std::uint64_t index = 0;     ///< Of the input record among all.
  std::uint32_t ordinal = 0;   ///< Among the output of the input record.
  wasmengine::field valid;     ///< The input record's value if that is known to be JSON.
};

/// Any thread may use it.
class record_writer {
 public:
  struct settings {
    format shape = format::lines;
    encoding text = encoding::utf8;
    std::vector<std::string> topics;
    char delimiter = '\n';
    csv_columns* columns = nullptr;  ///< csv
    std::string key_field;           ///< json: the member that gets the key. Empty for none.
    std::string headers_field;       ///< json: the member that gets the headers. Empty for none.
    bool origin = false;             ///< records, csv: whose output a record is.
    /// utf8: what is no UTF-8 is written as `NAME_base64` instead of `NAME`. Otherwise it is refused.
    bool any_bytes = false;
  };

  explicit record_writer(settings s);

  /// Appends the record's line to `out`. Throws `failure` if the format cannot express it.
  void write(const written_record& r, std::string& out) const;

 private:
  void write_value(const written_record& r, std::string& out) const;
  void write_object(const written_record& r, std::string& out) const;
  void write_row(const written_record& r, std::string& out) const;
  void add_members(const written_record& r, std::size_t begin, std::string& out) const;
  void member(const char* name, const wasmengine::field& bytes, const char* what, std::string& out) const;

  settings _settings;
  std::vector<std::string> _topics;  ///< In quotes.
};

}  // namespace tool
