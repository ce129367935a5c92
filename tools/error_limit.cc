// SPDX-License-Identifier: Apache-2.0
#include "error_limit.hh"

#include <charconv>

namespace tool {

std::optional<error_limit> error_limit::parse(std::string_view text) {
  error_limit limit;
  limit._text = text;
  const bool is_share = text.ends_with('%');
  const char* const end = text.data() + text.size() - (is_share ? 1 : 0);
  std::from_chars_result read{};
  if (is_share) {
    read = std::from_chars(text.data(), end, limit._percent, std::chars_format::fixed);
  } else {
    read = std::from_chars(text.data(), end, limit._count.emplace());
  }
  const bool is_whole = read.ec == std::errc() && read.ptr == end && text.data() != end;
  return is_whole && limit._percent >= 0 && limit._percent <= 100 ? std::optional(limit) : std::nullopt;
}

bool error_limit::allows(std::uint64_t lost, std::uint64_t records) const noexcept {
  if (_count) {
    return lost <= *_count;
  }
  return static_cast<double>(lost) * 100 <= static_cast<double>(records) * _percent;
}

}  // namespace tool
