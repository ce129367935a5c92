// SPDX-License-Identifier: Apache-2.0
//
// The files that new projects begin with, and those that a build adds.
#pragma once

#include <filesystem>

namespace tool {

/// The directory with a folder for each language: beside the tool in a build tree, in share/wasm-engine/templates of
/// what is installed, or what WASM_TRANSFORM_TEMPLATES says. Throws `failure`.
[[nodiscard]] std::filesystem::path templates();

}  // namespace tool
