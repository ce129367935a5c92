// SPDX-License-Identifier: Apache-2.0
//
// A file that says that a process uses something.
#pragma once

#include "file.hh"

#include <string>

namespace tool {

/// Held until it is destroyed or the process ends, however it does. The file is removed by the destructor. One that a
/// killed process left behind is in nobody's way.
class file_lock {
 public:
  /// Throws `failure` with `message` if another process has it.
  file_lock(std::string path, const std::string& message);
  file_lock(const file_lock&) = delete;
  file_lock& operator=(const file_lock&) = delete;
  ~file_lock();

 private:
  [[nodiscard]] bool is_there() const noexcept;

  std::string _path;
  descriptor _file;
};

}  // namespace tool
