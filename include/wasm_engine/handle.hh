// SPDX-License-Identifier: Apache-2.0
//
// RAII for the C handles and views of borrowed bytes.
#pragma once

#include "../wasm_engine.h"

#ifndef NDEBUG
#include <cstdio>
#include <cstdlib>

#include <pthread.h>
#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace wasmengine {

namespace detail {

/// Takes the status of a release that only the handle's thread may do. On another thread nothing was freed: a leak is
/// better than freeing it there. Like `assert` this ends the program if NDEBUG is not defined.
inline void check_release([[maybe_unused]] wasm_status status, [[maybe_unused]] const char* type) noexcept {
#ifndef NDEBUG
  if (status == WASM_STATUS_WRONG_THREAD) {
    char thread[16] = "?";
    (void)pthread_getname_np(pthread_self(), thread, sizeof(thread));
    std::fprintf(stderr,
                 "wasm_engine: a wasmengine::%s was released on thread \"%s\" but belongs to another one: release it "
                 "on the thread that made its engine\n",
                 type, thread);
    std::abort();
  }
#endif
}

}  // namespace detail

/// Owns a C handle. `Release` is the C function that releases it. Move-only.
template <typename T, auto Release>
class handle {
 public:
  handle() noexcept = default;
  explicit handle(T* raw) noexcept : _raw(raw) {}
  handle(handle&& other) noexcept : _raw(std::exchange(other._raw, nullptr)) {}
  handle& operator=(handle&& other) noexcept {
    if (this != &other) {
      reset(std::exchange(other._raw, nullptr));
    }
    return *this;
  }
  ~handle() { reset(); }

  [[nodiscard]] T* get() const noexcept { return _raw; }
  [[nodiscard]] explicit operator bool() const noexcept { return _raw != nullptr; }

  /// Releases the handle to the caller.
  [[nodiscard]] T* release() noexcept { return std::exchange(_raw, nullptr); }

  /// Frees the handle and takes over another one.
  void reset(T* raw = nullptr) noexcept {
    if (T* old = std::exchange(_raw, raw)) {
      Release(old);
    }
  }

  /// Where a C function writes a new handle.
  [[nodiscard]] T** out() noexcept {
    reset();
    return &_raw;
  }

 private:
  T* _raw = nullptr;
};

/// Bytes for C.
[[nodiscard]] inline wasm_slice as_slice(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline wasm_slice as_slice(std::span<const std::uint8_t> bytes) noexcept {
  return {bytes.data(), bytes.size()};
}

/// Bytes from C.
[[nodiscard]] inline std::span<const std::uint8_t> as_bytes(wasm_slice slice) noexcept {
  return {slice.data, slice.size};
}
[[nodiscard]] inline std::string_view as_text(wasm_slice slice) noexcept {
  return {reinterpret_cast<const char*>(slice.data), slice.size};
}

}  // namespace wasmengine
