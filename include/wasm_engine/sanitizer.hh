// SPDX-License-Identifier: Apache-2.0
//
// For hosts that are compiled with AddressSanitizer.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace wasmengine::detail {

/// For a handler that may be on a guest's stack. The sanitizer does not know these stacks. So the frames that an
/// exception has unwound have left their marks there, which would be taken for faults of the frames to come.
inline void forget_unwound_frames() noexcept {
#if defined(__SANITIZE_ADDRESS__)
  // A host function has at least so much stack.
  constexpr std::size_t below = std::size_t{64} << 10;
  auto* const here = static_cast<std::byte*>(__builtin_frame_address(0));
  __asan_unpoison_memory_region(here - below, below);
#endif
}

}  // namespace wasmengine::detail
