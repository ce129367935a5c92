// SPDX-License-Identifier: Apache-2.0
//
// Errors for programs.
#pragma once

#include "exit_code.hh"

#include <string>

namespace tool {

/// `{"error":"…","exit_code":1}`, on one line. What is not UTF-8 in the message is replaced.
[[nodiscard]] std::string error_json(exit_code code, const std::string& message);

}  // namespace tool
