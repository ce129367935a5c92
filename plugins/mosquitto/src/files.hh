// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mosquitto_wasm {

/// The content of a file. Throws std::runtime_error with path and reason.
[[nodiscard]] std::string read_file(const std::string& path);

}  // namespace mosquitto_wasm
