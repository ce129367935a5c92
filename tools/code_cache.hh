// SPDX-License-Identifier: Apache-2.0
//
// Compiled modules that are kept: --cache-dir.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <string>

namespace tool {

/// Gives the runtime a directory for compiled modules unless its name is empty. Throws `failure`.
void use_code_cache(const wasmengine::runtime& runtime, const std::string& directory);

}  // namespace tool
