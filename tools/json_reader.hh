// SPDX-License-Identifier: Apache-2.0
//
// A parser of JSON that is fast where the input is right and says why where it is wrong.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tool {

/// A value that was parsed. Lives until its reader parses again.
using json_value = simdjson::dom::element;

/// What becomes of a number that neither 64 bits nor a double can hold. It is JSON nevertheless.
enum class large_numbers {
  refused,
  as_text,  ///< A string of its digits.
};

/// Used by one thread.
class json_reader {
 public:
  /// Checks that the text is a value in JSON. Behind it `line_reader::padding` can be read. Throws `failure`.
  void check(std::string_view text);
  /// Parses it. Throws `failure`.
  [[nodiscard]] json_value parse(std::string_view text, large_numbers numbers);

 private:
  simdjson::dom::parser _parser;
  std::string _rewritten;
};

/// `object`, `array`, `string`, `number`, `boolean` or `null`.
[[nodiscard]] const char* type_name(json_value value);

/// An integer from `least` to `greatest`. Throws `failure` naming the member.
[[nodiscard]] std::int64_t integer_of(json_value value, const char* name, std::int64_t least, std::int64_t greatest);

/// As much of a text as a message may have.
[[nodiscard]] std::string excerpt(std::string_view text);

}  // namespace tool
