// SPDX-License-Identifier: Apache-2.0
//
// A record of the input.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <optional>

namespace tool {

/// How records are written in text: one per line.
enum class format { lines, json, records };

/// Views of memory that its reader owns.
struct record {
  wasmengine::payload payload;
  std::optional<std::int64_t> timestamp;  ///< Milliseconds since 1970.
  std::optional<std::int32_t> partition;
  std::optional<std::int64_t> offset;
};

}  // namespace tool
