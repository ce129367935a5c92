// SPDX-License-Identifier: Apache-2.0
#include "templates.hh"

#include "../child.hh"
#include "../exit_code.hh"

#include <fmt/format.h>

#include <cstdlib>

namespace tool {

std::filesystem::path templates() {
  namespace fs = std::filesystem;
  if (const char* given = std::getenv("WASM_TRANSFORM_TEMPLATES"); given != nullptr && *given != '\0') {
    return given;
  }
  const auto here = fs::path(own_path()).parent_path();
  for (const auto& candidate : {here / "templates", here.parent_path() / "share" / "wasm-engine" / "templates"}) {
    if (fs::is_directory(candidate / "common")) {
      return candidate;
    }
  }
  throw failure(exit_code::other,
                fmt::format("the templates of projects are neither in {0}/templates nor in {0}/../share/wasm-engine/templates; "
                            "WASM_TRANSFORM_TEMPLATES can name their directory",
                            here.string()));
}

}  // namespace tool
