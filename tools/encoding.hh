// SPDX-License-Identifier: Apache-2.0
//
// Bytes as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tool {

/// How keys and values are written in text. utf8 leaves them unchanged.
enum class encoding { utf8, base64, hex };

/// Appends the bytes' text to `text`.
void encode(encoding e, std::string_view bytes, std::string& text);

/// The bytes. None if the text is not of this encoding. utf8 takes any bytes.
[[nodiscard]] std::optional<std::string> decode(encoding e, std::string_view text);

[[nodiscard]] const char* name_of(encoding e) noexcept;

/// External text, fit for a terminal. Control characters other than tab and newline become `\xNN`. So does everything
/// that is not UTF-8.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace tool
