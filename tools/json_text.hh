// SPDX-License-Identifier: Apache-2.0
//
// Text in JSON.
#pragma once

#include <string>
#include <string_view>

namespace tool {

/// Whether the bytes are valid UTF-8.
[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;

/// Appends the text in quotes. It must be UTF-8.
void append_json(std::string_view text, std::string& out);

/// `text` in quotes.
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace tool
