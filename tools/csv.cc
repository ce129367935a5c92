// SPDX-License-Identifier: Apache-2.0
#include "csv.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>

namespace tool {

std::vector<std::string> split_row(std::string_view row, char separator) {
  if (row.ends_with('\r')) {
    row.remove_suffix(1);
  }
  std::vector<std::string> fields(1);
  const auto refuse = [&fields](const char* why) {
    throw failure(exit_code::bad_input, fmt::format("not valid CSV: field {} {}", fields.size(), why));
  };
  for (std::size_t i = 0; i < row.size();) {
    auto& field = fields.back();
    if (row[i] == '"') {
      for (++i;; ++i) {
        const auto stop = row.find('"', i);
        if (stop == row.npos) {
          refuse("has no second quote");
        }
        field += row.substr(i, stop - i);
        i = stop + 1;
        if (i >= row.size() || row[i] != '"') {
          break;
        }
        field += '"';
      }
      if (i < row.size() && row[i] != separator) {
        refuse("goes on behind its quotes");
      }
    } else {
      const auto stop = std::min(row.find(separator, i), row.size());
      field = row.substr(i, stop - i);
      if (field.find('"') != field.npos) {
        refuse("has a quote in it and is not in quotes");
      }
      i = stop;
    }
    if (i < row.size()) {
      fields.emplace_back();
      ++i;
    }
  }
  return fields;
}

std::optional<std::string> find_twice(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  const auto found = std::adjacent_find(names.begin(), names.end());
  return found == names.end() ? std::nullopt : std::optional(*found);
}

void append_field(std::string_view field, char separator, std::string& row) {
  const bool plain = field.find_first_of("\"\r\n") == field.npos && field.find(separator) == field.npos;
  if (plain) {
    row += field;
    return;
  }
  row += '"';
  for (const char c : field) {
    row.append(c == '"' ? 2 : 1, c);
  }
  row += '"';
}

std::string row_of(const std::vector<std::string>& fields, char separator) {
  std::string row;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) {
      row += separator;
    }
    append_field(fields[i], separator, row);
  }
  return row += '\n';
}

}  // namespace tool
