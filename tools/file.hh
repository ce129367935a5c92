// SPDX-License-Identifier: Apache-2.0
//
// Files and descriptors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tool {

/// Owns a file descriptor.
class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int fd) noexcept : _fd(fd) {}
  descriptor(descriptor&& other) noexcept : _fd(std::exchange(other._fd, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(_fd, other._fd);
    return *this;
  }
  ~descriptor();

  [[nodiscard]] int get() const noexcept { return _fd; }
  [[nodiscard]] int release() noexcept { return std::exchange(_fd, -1); }

 private:
  int _fd = -1;
};

/// Opens a file for reading or duplicates standard input for `-`. Throws `failure`.
[[nodiscard]] descriptor open_input(const std::string& path);

/// Reads a module. Throws `failure`.
[[nodiscard]] std::vector<std::uint8_t> read_module(const std::string& path);

/// Reads a text. Throws `failure`.
[[nodiscard]] std::string read_text(const std::string& path);

/// Reads a file with one line that is not empty: a secret. Throws `failure`.
[[nodiscard]] std::string read_token(const std::string& path);

/// Writes everything. Throws std::system_error.
void write_all(int fd, std::string_view bytes);

}  // namespace tool
