// SPDX-License-Identifier: Apache-2.0
//
// How many records a run may lose: `--max-errors`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tool {

/// A number of records or a share of them. None may be lost by default.
class error_limit {
 public:
  error_limit() = default;
  /// Reads `10` or `0.5%`. None if it is neither.
  [[nodiscard]] static std::optional<error_limit> parse(std::string_view text);

  /// Whether a run that took `records` may have lost `lost` of them.
  [[nodiscard]] bool allows(std::uint64_t lost, std::uint64_t records) const noexcept;
  /// The number of records, if the user gave one: the run ends when more would be lost. A share is known at the end
  /// only.
  [[nodiscard]] std::optional<std::uint64_t> count() const noexcept { return _count; }
  /// `10`, `0.5%` or `none`.
  [[nodiscard]] const std::string& text() const noexcept { return _text; }

 private:
  std::optional<std::uint64_t> _count;
  double _percent = 0;
  std::string _text = "none";
};

}  // namespace tool
