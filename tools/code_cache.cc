// SPDX-License-Identifier: Apache-2.0
#include "code_cache.hh"

#include "encoding.hh"
#include "exit_code.hh"

#include <fmt/format.h>

#include <sys/stat.h>

namespace tool {

void use_code_cache(const wasmengine::runtime& runtime, const std::string& directory) {
  if (directory.empty()) {
    return;
  }
  // The library would say how to change its mode, which is no advice for /tmp.
  struct stat status {};
  if (::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0) {
    throw failure(exit_code::usage,
                  fmt::format("--cache-dir: everybody can write to {}: name a directory of your own, such as "
                              "~/.cache/wasm-transform",
                              directory));
  }
  if (const auto set = runtime.set_code_cache({directory}); !set) {
    throw failure(exit_code::usage, fmt::format("--cache-dir: {}", printable(set.err().what())));
  }
}

}  // namespace tool
