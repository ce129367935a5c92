// SPDX-License-Identifier: Apache-2.0
//
// Rows of CSV (RFC 4180).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// Splits a row. Fields in quotes lose them. Throws `failure` if quotes are where none may be.
[[nodiscard]] std::vector<std::string> split_row(std::string_view row, char separator);

/// A name that is there twice, if one is.
[[nodiscard]] std::optional<std::string> find_twice(std::vector<std::string> names);

/// Appends a field, in quotes if it needs them.
void append_field(std::string_view field, char separator, std::string& row);

/// The row of these fields with its newline.
[[nodiscard]] std::string row_of(const std::vector<std::string>& fields, char separator);

}  // namespace tool
