// SPDX-License-Identifier: Apache-2.0
//
// Dead letters that a case expects.
#pragma once

#include <string>
#include <vector>

namespace tool {

/// How the dead letters differ from what was expected. Both are JSON objects, one a line. Of the actual ones only
/// members that the expected one has count, and headers by their keys. Empty if they do not.
[[nodiscard]] std::string compare_dead_letters(const std::vector<std::string>& expected, const std::vector<std::string>& actual);

/// What is worth expecting of dead letters: key, value and the kind of the error. Times and offsets may differ.
[[nodiscard]] std::string expectation_of(const std::vector<std::string>& actual);

}  // namespace tool
