// SPDX-License-Identifier: Apache-2.0
//
// A record of the input.
#pragma once

#include <wasm_engine/wasm_engine.hh>

#include <cstdint>
#include <optional>

namespace tool {

/// How records are written. All but `batches` are text.
enum class format {
  lines,    ///< A value a line.
  json,     ///< A value in JSON a line.
  records,  ///< A record as an object in JSON a line.
  kcat,     ///< As `records`, with the members of `kcat -J`. Input only.
  rpk,      ///< As `records`, with those of `rpk topic consume`. Input only.
  csv,      ///< Rows, of which each becomes an object in JSON.
  batches,  ///< Kafka's record batches.
};

/// Whether an object a line has all parts of a record.
[[nodiscard]] constexpr bool has_objects(format f) noexcept {
  return f == format::records || f == format::kcat || f == format::rpk;
}

/// Views of memory that its reader owns.
struct record {
  wasmengine::payload payload;
  std::optional<std::int64_t> timestamp;  ///< Milliseconds since 1970.
  std::optional<std::int32_t> partition;
  std::optional<std::int64_t> offset;
};

}  // namespace tool
