// SPDX-License-Identifier: Apache-2.0
#include "line_diff.hh"

#include "test_case.hh"

#include "../encoding.hh"
#include "../terminal.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tool {

namespace {

constexpr std::size_t context = 3;
constexpr std::size_t most_lines = 400;        // of an answer
constexpr std::size_t most_cells = 4'000'000;  // of the table. Beyond that the middles differ as a whole.

struct edit {
  char kind;  ///< ' ', '-' or '+'.
  std::string_view line;
  std::size_t number;  ///< Of the line, in the actual text unless it is missing there.
};

using lines = std::vector<std::string>;

/// By the longest common subsequence of what is between `begin` and the ends.
void middle(const lines& a, const lines& b, std::size_t begin, std::size_t a_end, std::size_t b_end, std::vector<edit>& edits) {
  const auto rows = a_end - begin;
  const auto columns = b_end - begin;
  const auto at = [columns](std::size_t i, std::size_t j) { return i * (columns + 1) + j; };
  std::vector<std::uint32_t> common;
  const bool fits = (rows + 1) <= most_cells / (columns + 1);
  if (fits) {
    common.assign((rows + 1) * (columns + 1), 0);
    for (auto i = rows; i-- > 0;) {
      for (auto j = columns; j-- > 0;) {
        common[at(i, j)] = a[begin + i] == b[begin + j] ? common[at(i + 1, j + 1)] + 1
                                                        : std::max(common[at(i + 1, j)], common[at(i, j + 1)]);
      }
    }
  }
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < rows || j < columns) {
    if (fits && i < rows && j < columns && a[begin + i] == b[begin + j]) {
      edits.push_back({' ', a[begin + i], begin + j + 1});
      ++i;
      ++j;
    } else if (i < rows && (j == columns || !fits || common[at(i + 1, j)] >= common[at(i, j + 1)])) {
      edits.push_back({'-', a[begin + i], begin + i + 1});
      ++i;
    } else {
      edits.push_back({'+', b[begin + j], begin + j + 1});
      ++j;
    }
  }
}

std::vector<edit> edits_of(const lines& a, const lines& b) {
  std::vector<edit> edits;
  std::size_t begin = 0;
  while (begin < a.size() && begin < b.size() && a[begin] == b[begin]) {
    edits.push_back({' ', a[begin], begin + 1});
    ++begin;
  }
  auto a_end = a.size();
  auto b_end = b.size();
  while (a_end > begin && b_end > begin && a[a_end - 1] == b[b_end - 1]) {
    --a_end;
    --b_end;
  }
  middle(a, b, begin, a_end, b_end, edits);
  for (; a_end < a.size(); ++a_end, ++b_end) {
    edits.push_back({' ', a[a_end], b_end + 1});
  }
  return edits;
}

}  // namespace

std::string line_diff(std::string_view expected, std::string_view actual, bool coloured) {
  if (expected == actual) {
    return "";
  }
  const auto a = split_lines(expected);
  const auto b = split_lines(actual);
  const auto edits = edits_of(a, b);
  const auto near = [&edits](std::size_t at) {
    const auto first = at > context ? at - context : 0;
    const auto last = std::min(at + context + 1, edits.size());
    return std::any_of(edits.begin() + static_cast<std::ptrdiff_t>(first), edits.begin() + static_cast<std::ptrdiff_t>(last),
                       [](const edit& e) { return e.kind != ' '; });
  };
  std::string text;
  std::size_t shown = 0;
  bool gap = false;
  for (std::size_t i = 0; i < edits.size(); ++i) {
    if (!near(i)) {
      gap = true;
      continue;
    }
    if (++shown > most_lines) {
      return text + "…\n";
    }
    text += gap ? "…\n" : "";
    gap = false;
    const auto& e = edits[i];
    const auto line = fmt::format("{:>5} {} {}", e.number, e.kind, printable(e.line));
    text += in_colour(coloured && e.kind != ' ', e.kind == '-' ? colour::red : colour::green, line) + "\n";
  }
  return text.empty() ? "the ends of the last lines differ\n" : text;
}

}  // namespace tool
