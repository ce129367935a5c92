// SPDX-License-Identifier: Apache-2.0
//
// A directory for files that nobody keeps.
#pragma once

#include <filesystem>

namespace tool {

/// Made in $TMPDIR, and removed at the end.
class scratch_directory {
 public:
  /// Throws `failure`.
  scratch_directory();
  scratch_directory(const scratch_directory&) = delete;
  ~scratch_directory();

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return _path; }

 private:
  std::filesystem::path _path;
};

}  // namespace tool
