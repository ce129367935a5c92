// SPDX-License-Identifier: Apache-2.0
//
// Text in XML.
#pragma once

#include <string>
#include <string_view>

namespace tool {

/// Text for an element or an attribute. What XML has no way to say, even escaped, is printed as in messages: control
/// characters, bytes that are not UTF-8, U+FFFE and U+FFFF.
[[nodiscard]] std::string xml(std::string_view text);

}  // namespace tool
