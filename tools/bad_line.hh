// SPDX-License-Identifier: Apache-2.0
//
// Lines that are no records. Their dead letters say how the lines were read, so that they can be read so again.
#pragma once

#include "record_reader.hh"

#include <string>
#include <vector>

namespace tool {

/// The header of such a dead letter that has it, beside `wasm-line`, which is the line's number.
inline constexpr const char* how_read_header = "wasm-input";

/// How lines are read with these settings: JSON with what is not the default.
[[nodiscard]] std::string how_read(const record_reader::settings& s);

/// Input that has one line which is read so, and the options of `run` for it.
struct line_input {
  std::vector<std::string> options;
  std::string text;
};

/// The input for a line. `how` is what `how_read` returned. Throws `failure` if it is not.
[[nodiscard]] line_input input_of_line(const std::string& how, const std::string& line);

}  // namespace tool
