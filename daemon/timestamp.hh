// SPDX-License-Identifier: Apache-2.0
//
// Points in time as operators write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace transformd {

/// Milliseconds since 1970: `1767225600000`, or `2026-01-01T00:00:00Z` with fractions of the second if wanted.
[[nodiscard]] std::optional<std::int64_t> parse_timestamp(const std::string& text);

}  // namespace transformd
