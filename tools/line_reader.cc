// SPDX-License-Identifier: Apache-2.0
#include "line_reader.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace tool {

namespace {

constexpr std::size_t first_size = 1U << 20;
constexpr std::string_view utf8_mark("\xef\xbb\xbf");

std::string_view without_return(std::string_view line) {
  return line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
}

}  // namespace

line_reader::line_reader(input_stream& input, char delimiter, framing frame, char separator)
    : _input(input), _delimiter(delimiter), _separator(separator), _framing(frame), _buffer(first_size + padding) {}

std::optional<std::string_view> line_reader::next() {
  for (;;) {
    auto stop = find_end();
    if (!stop) {
      if (fill()) {
        continue;
      }
      if (_begin == _end || _input.interrupted()) {
        return std::nullopt;
      }
      // The last line may lack its delimiter.
      stop = _scanned = _end;
      ++_lines_within;
    }
    std::string_view line(_buffer.data() + _begin, *stop - _begin);
    _line = _next_line;
    _next_line += std::exchange(_lines_within, 0);
    _position += _scanned - _begin;
    _begin = _part = _scanned;
    _place = row_place::field_begin;
    _within = false;
    if (std::exchange(_skip_mark, false) && line.starts_with(utf8_mark)) {
      line.remove_prefix(utf8_mark.size());
    }
    return line;
  }
}

/// The end of the line that begins at `_begin`, if that was read. `_scanned` is behind the delimiter then.
std::optional<std::size_t> line_reader::find_end() {
  for (;;) {
    const char* const from = _buffer.data() + _scanned;
    const auto* found = static_cast<const char*>(std::memchr(from, _delimiter, _end - _scanned));
    if (found == nullptr) {
      if (_framing == framing::quotes) {
        scan_row(_end);
      }
      _scanned = _end;
      return std::nullopt;
    }
    ++_lines_within;
    const auto stop = static_cast<std::size_t>(found - _buffer.data());
    if (_framing == framing::quotes) {
      scan_row(stop);
    }
    _scanned = stop + 1;
    if (_place == row_place::quoted) {
      continue;
    }
    if (_framing == framing::objects) {
      const auto line = without_return({_buffer.data() + _part, stop - _part});
      _part = _scanned;
      _within = _within ? line != "}" : line == "{";
      if (_within) {
        continue;
      }
    }
    return stop;
  }
}

/// Goes from `_scanned` to `end` in a row of CSV. Quotes open at the beginning of a field only: any other one makes the
/// row bad and must not take the rows behind it along.
void line_reader::scan_row(std::size_t end) {
  const std::string_view text(_buffer.data() + _scanned, end - _scanned);
  if (text.empty()) {
    return;
  }
  if (text.find('"') == text.npos && !_skip_mark) {  // most text
    if (_place != row_place::quoted) {
      _place = text.back() == _separator ? row_place::field_begin : row_place::plain;
    }
    return;
  }
  for (std::size_t at = _scanned; at < end; ++at) {
    const char c = _buffer[at];
    const bool is_quote = c == '"';
    if (_place == row_place::quoted) {
      _place = is_quote ? row_place::closed : row_place::quoted;
    } else if (is_quote && _place != row_place::plain) {
      _place = row_place::quoted;
    } else if (c == _separator) {
      _place = row_place::field_begin;
    } else if (!_skip_mark || at - _begin >= utf8_mark.size() || c != utf8_mark[at - _begin]) {
      _place = row_place::plain;
    }
  }
}

/// Reads more. False at the end.
bool line_reader::fill() {
  if (_begin > 0) {
    std::memmove(_buffer.data(), _buffer.data() + _begin, _end - _begin);
    _scanned -= _begin;
    _part -= _begin;
    _end -= _begin;
    _begin = 0;
  }
  if (_end > max_line) {
    _line = _next_line;
    throw failure(exit_code::bad_input, fmt::format("the line is longer than {} MiB", max_line >> 20));
  }
  if (_end + padding == _buffer.size()) {
    _buffer.resize(2 * _buffer.size());
  }
  const auto got = _input.read(_buffer.data() + _end, _buffer.size() - padding - _end);
  _end += got;
  return got > 0;
}

void line_reader::skip_to(std::uint64_t position, std::uint64_t lines) {
  const auto buffered = std::min<std::uint64_t>(position - _position, _end - _begin);
  _begin += buffered;
  _scanned = _part = _begin;
  _input.skip(position - _position - buffered);
  _position = position;
  _next_line = lines + 1;
}

}  // namespace tool
