// SPDX-License-Identifier: Apache-2.0
//
// Which file the input is: a run that goes on must have the same.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace tool {

/// A file as it was when it was opened.
class input_identity {
 public:
  /// Reads the file's beginning and leaves its position where it is.
  explicit input_identity(int file);

  /// Device, inode, size in bytes, and a checksum of the first bytes.
  [[nodiscard]] nlohmann::json saved() const;
  /// Whether it is the file that was saved, which may have grown. Throws nlohmann::json::exception.
  [[nodiscard]] bool goes_on(const nlohmann::json& saved) const;

 private:
  [[nodiscard]] std::string checksum(std::uint64_t size) const;

  std::uint64_t _device = 0;
  std::uint64_t _inode = 0;
  std::uint64_t _size = 0;
  std::string _begin;
};

}  // namespace tool
