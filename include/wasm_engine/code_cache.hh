// SPDX-License-Identifier: Apache-2.0
//
// Compiled modules: the runtime's cache of them, and artifacts that the host keeps itself.
#pragma once

#include "future.hh"

#include <cstdint>
#include <span>
#include <string>

namespace wasmengine {

/// A directory for compiled modules; the C header says whom it must belong to.
struct code_cache_config {
  std::string directory;
  std::uint64_t max_bytes = 0;  ///< Zero: 1 GiB.
};

/// A compiled module as bytes. Machine code: guard it like the program. Belongs to no thread.
class artifact {
 public:
  artifact() noexcept = default;

  /// They live as long as the artifact.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return as_bytes(wasm_bytes_view(_raw.get()));
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_bytes* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_bytes** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_bytes, wasm_bytes_release> _raw;
};

/// An artifact that is being made on a thread of the runtime. Poll or await it, then take.
class precompilation : public future {
 public:
  using future::future;

  /// The artifact, once, after the future was ready.
  [[nodiscard]] result<artifact> take() noexcept {
    return detail::make<artifact>(
        [this](wasm_bytes** out, wasm_error** e) { return wasm_future_take_artifact(get(), out, e); });
  }
};

}  // namespace wasmengine
