// SPDX-License-Identifier: Apache-2.0
//
// Compiled modules: the runtime's code cache and artifacts that the host stores itself.
#pragma once

#include "future.hh"

#include <cstdint>
#include <span>
#include <string>

namespace wasmengine {

/// A directory for compiled modules. See `wasm_runtime_set_code_cache` for the required owner and permissions.
struct code_cache_config {
  std::string directory;
  std::uint64_t max_bytes = 0;  ///< Zero: 1 GiB.
};

/// A compiled module as bytes. It is machine code: guard it like the program. Any thread may use it.
class artifact {
 public:
  artifact() noexcept = default;

  /// The view lives as long as the artifact.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return as_bytes(wasm_bytes_view(_raw.get()));
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(_raw); }
  [[nodiscard]] wasm_bytes* get() const noexcept { return _raw.get(); }
  [[nodiscard]] wasm_bytes** out() noexcept { return _raw.out(); }

 private:
  handle<wasm_bytes, wasm_bytes_release> _raw;
};

/// An artifact that is being made on a thread of the runtime. Poll or await it. Then take.
class precompilation : public future {
 public:
  using future::future;

  /// The artifact. Once, after the future was ready.
  [[nodiscard]] result<artifact> take() noexcept {
    return detail::make<artifact>(
        [this](wasm_bytes** out, wasm_error** e) { return wasm_future_take_artifact(get(), out, e); });
  }
};

}  // namespace wasmengine
