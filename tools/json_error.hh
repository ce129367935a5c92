// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with JSON that is not input: manifests, saved results, answers of servers.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <exception>
#include <string>

namespace tool {

/// The message of an exception. Of one of nlohmann's without the names of its parts.
[[nodiscard]] std::string message_of(const std::exception& e);

/// Parses a text. Throws `failure` of wrong usage that names `path`, line and column.
[[nodiscard]] nlohmann::json parse_file(const std::string& path, const std::string& text);

}  // namespace tool
