// SPDX-License-Identifier: Apache-2.0
//
// How the tool ends and the exceptions that end it.
#pragma once

#include <stdexcept>
#include <string>

namespace tool {

/// Documented in --help. Scripts rely on the numbers.
enum class exit_code : int {
  done = 0,
  other = 1,  ///< The output cannot be written, memory is exhausted, …
  usage = 2,
  module_refused = 3,
  guest_failed = 4,
  bad_input = 5,
  records_lost = 6,
  different = 7,  ///< Of `test`, `diff`, `bench` and `replay`: not as expected.
};

/// Ends the tool with a message for the user.
class failure : public std::runtime_error {
 public:
  failure(exit_code code, const std::string& message) : std::runtime_error(message), _code(code) {}
  [[nodiscard]] exit_code code() const noexcept { return _code; }

 private:
  exit_code _code;
};

}  // namespace tool
