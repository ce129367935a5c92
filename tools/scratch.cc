// SPDX-License-Identifier: Apache-2.0
#include "scratch.hh"

#include "exit_code.hh"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace tool {

scratch_directory::scratch_directory() {
  std::error_code ignored;
  auto pattern = (std::filesystem::temp_directory_path(ignored) / "wasm-transform-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw failure(exit_code::other, fmt::format("cannot make a directory like {}: {}", pattern, std::strerror(errno)));
  }
  _path = pattern;
}

scratch_directory::~scratch_directory() {
  std::error_code ignored;
  std::filesystem::remove_all(_path, ignored);
}

}  // namespace tool
