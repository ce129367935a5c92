// SPDX-License-Identifier: Apache-2.0
//
// Lines of the input.
#pragma once

#include "input_stream.hh"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tool {

/// Reads lines of at most `max_line` bytes. Used by one thread.
class line_reader {
 public:
  static constexpr std::size_t max_line = 64U << 20;
  /// Bytes behind a line that may be read, though not used: what the parser of JSON needs.
  static constexpr std::size_t padding = 64;

  /// Where a line ends.
  enum class framing {
    delimiter,  ///< At each delimiter.
    quotes,     ///< As `delimiter`, but not within a field in double quotes: CSV.
    objects,    ///< As `delimiter`, but a line that is only `{` goes on to one that is only `}`: what `rpk` prints.
  };

  /// `separator` is what is between the fields of CSV.
  explicit line_reader(input_stream& input, char delimiter = '\n', framing frame = framing::delimiter, char separator = ',');

  /// The next line without its delimiter. Valid until the next call. None at the end. Throws `failure`.
  [[nodiscard]] std::optional<std::string_view> next();

  /// Goes on from a place that `end_position` was at when `lines` lines had been read. Throws `failure`.
  void skip_to(std::uint64_t position, std::uint64_t lines);
  /// Leaves out the mark of UTF-8 at the beginning of the input.
  void skip_mark() { _skip_mark = true; }

  /// Number of the last line's first line, from 1. CSV and objects may have several in one.
  [[nodiscard]] std::uint64_t line() const noexcept { return _line; }
  /// Number of lines up to the end of the last line.
  [[nodiscard]] std::uint64_t end_line() const noexcept { return _next_line - 1; }
  /// Where the next line begins in the decompressed input.
  [[nodiscard]] std::uint64_t end_position() const noexcept { return _position; }

 private:
  /// Where in a row of CSV. `closed` is behind a quote that ends the field or is the first of two that mean one.
  enum class row_place { field_begin, plain, quoted, closed };

  bool fill();
  std::optional<std::size_t> find_end();
  void scan_row(std::size_t end);

  input_stream& _input;
  char _delimiter;
  char _separator;
  framing _framing;
  std::vector<char> _buffer;
  std::size_t _begin = 0;    // of the next line
  std::size_t _scanned = 0;  // up to here there is no end of the line
  std::size_t _part = 0;     // where the last of an object's lines begins
  std::size_t _end = 0;      // of what was read
  row_place _place = row_place::field_begin;  // at `_scanned`
  bool _within = false;      // an object at `_scanned`
  std::uint64_t _lines_within = 0;
  std::uint64_t _line = 0;
  std::uint64_t _next_line = 1;
  std::uint64_t _position = 0;
  bool _skip_mark = false;
};

}  // namespace tool
