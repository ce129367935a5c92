// SPDX-License-Identifier: Apache-2.0
//
// Appending a file to another, exactly once whatever happens in between.
#pragma once

#include <cstdint>
#include <string>

namespace tool {

/// Where lines that are appended to a file begin: behind its last line, which may lack its newline. 0 without a file.
/// Throws `failure`.
[[nodiscard]] std::uint64_t append_position(const std::string& path);

/// Appends the lines of `from` to the file `to` and removes `from`, which gets that name if there is no such file. A
/// process that was killed here may have appended some of them already, and other processes may have appended lines of
/// their own since. What is there of `from` is not appended again. `position` is what `append_position` was when the
/// first of them began. If `from` is gone, all was done before. Throws `failure`.
void append_file(const std::string& from, const std::string& to, std::uint64_t position);

}  // namespace tool
