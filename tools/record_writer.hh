// SPDX-License-Identifier: Apache-2.0
//
// Records to lines of text.
#pragma once

#include "encoding.hh"
#include "record.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// Immutable. So any thread may use it.
class record_writer {
 public:
  /// `origin` begins the messages about records that cannot be expressed.
  record_writer(format shape, encoding text, const std::vector<std::string>& topics,
                std::string origin = "the guest wrote");

  /// Appends the record's line to `out`. Throws `failure` if the format cannot express it.
  void write(const wasmengine::output_record& written, std::optional<std::int32_t> partition, std::string& out) const;

 private:
  void write_value(const wasmengine::payload& p, std::string& out) const;
  void quote(std::string_view bytes, const char* what, std::string& out) const;
  void quote(const wasmengine::field& bytes, const char* what, std::string& out) const;

  format _shape;
  encoding _text;
  std::vector<std::string> _topics;  ///< In quotes.
  std::string _origin;
};

}  // namespace tool
