// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with a command line, in words about our options.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace tool {

/// The one of `names` that was probably meant. None if nothing is like it.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& names);

/// The message for the error that parsing this command line ended with.
[[nodiscard]] std::string explain(const CLI::ParseError& e, const CLI::App& app, int argc, const char* const* argv);

}  // namespace tool
