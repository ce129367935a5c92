// SPDX-License-Identifier: Apache-2.0
//
// What a guest may import, as the command line says it.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <string>
#include <vector>

namespace tool {

/// Of --allow and --wasi.
struct rights {
  std::vector<std::string> allow;  ///< MODULE or MODULE.FUNCTION. Empty: everything.
  std::uint32_t wasi = 0;          ///< Bits of `wasm_wasi_right`. 0: all.

  [[nodiscard]] bool any() const noexcept { return !allow.empty() || wasi != 0; }
  /// Gives them to a transform.
  void apply(wasmengine::transform_config& transform) const;
};

/// The word for no import at all.
inline constexpr const char* allow_none = "none";

}  // namespace tool
