// SPDX-License-Identifier: Apache-2.0
//
// Data of a run for finding out why a guest failed or is slow.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <string>
#include <vector>

namespace tool {

/// Writes the profiles of a transform's guests to one file. Each is a thread of its own. Throws `failure`.
void write_profile(const std::string& path, const std::vector<std::string>& profiles);

/// Writes a guest's core dump to a file or to `NAME.coredump` in a directory. Returns the file's name. Throws
/// `failure`.
std::string write_coredump(const std::string& path, const std::string& name, const wasmengine::error& why);

}  // namespace tool
