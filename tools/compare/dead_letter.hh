// SPDX-License-Identifier: Apache-2.0
//
// A dead letter of `run`: a record at which a guest failed, or a line that is no record, with the reason in headers.
#pragma once

#include "../encoding.hh"

#include <optional>
#include <string>
#include <string_view>

namespace tool {

struct dead_letter {
  std::string record;   ///< In the format `records`, as it was before. Of a line: empty.
  std::string offset;   ///< Of the input. Empty, as the following, if the letter does not say.
  std::string error;    ///< The name of the status. `bad-input` for a line.
  std::string message;
  std::string line_number;          ///< Of a line.
  std::optional<std::string> line;  ///< The line itself.
  std::string how_read;             ///< How it was read: see `bad_line.hh`.
};

/// Reads one line of a file of dead letters. Headers that `run` has added are taken off and no others. `text` is the
/// encoding of keys and values. Throws `failure` with a message that does not name the place.
[[nodiscard]] dead_letter read_dead_letter(std::string_view text_of_letter, encoding text);

}  // namespace tool
