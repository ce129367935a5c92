// SPDX-License-Identifier: Apache-2.0
#include "rights.hh"

namespace tool {

void rights::apply(wasmengine::transform_config& transform) const {
  transform.wasi_rights = wasi;
  if (allow.empty()) {
    return;
  }
  auto& imports = transform.allowed_imports.emplace();
  for (const auto& text : allow) {
    if (text == allow_none) {
      continue;
    }
    const auto dot = text.find('.');
    imports.push_back({text.substr(0, dot), dot == text.npos ? "" : text.substr(dot + 1)});
  }
}

}  // namespace tool
