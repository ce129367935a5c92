// SPDX-License-Identifier: Apache-2.0
//
// Whether files of a project have changed.
#pragma once

#include <filesystem>
#include <cstdint>
#include <map>
#include <vector>

namespace tool {

/// Sees what is in directories, but for those that a build writes: `build`, `target`, `.git` and `node_modules`.
class watch {
 public:
  explicit watch(std::vector<std::filesystem::path> paths) : _paths(std::move(paths)), _seen(look()) {}

  /// Waits until a file has another time or size, or came or went, and until no more do.
  void wait();

 private:
  struct state {
    std::filesystem::file_time_type time;
    std::uintmax_t size;
    bool operator==(const state&) const = default;
  };
  using files = std::map<std::filesystem::path, state>;

  [[nodiscard]] files look() const;

  std::vector<std::filesystem::path> _paths;
  files _seen;
};

}  // namespace tool
