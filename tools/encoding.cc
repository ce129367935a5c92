// SPDX-License-Identifier: Apache-2.0
#include "encoding.hh"

#include <boost/algorithm/hex.hpp>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>

namespace tool {

namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_digit = 0xff;

constexpr auto digit_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(no_digit);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    values[static_cast<std::uint8_t>(digits[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

void to_base64(std::string_view bytes, std::string& text) {
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < group.size() ? static_cast<std::uint8_t>(group[j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += j <= group.size() ? digits[bits >> (18 - 6 * j) & 63U] : '=';
    }
  }
}

/// RFC 4648 with padding, strictly: no white space and the unused bits are zero.
std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t meant = i + 4 == text.size() ? 4 - padding : 4;
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const auto value = j < meant ? digit_values[static_cast<std::uint8_t>(text[i + j])] : std::uint8_t{0};
      if (value == no_digit) {
        return std::nullopt;
      }
      bits = bits << 6 | value;
    }
    for (std::size_t j = 0; j + 1 < 4; ++j) {
      const auto byte = static_cast<char>(bits >> (16 - 8 * j) & 0xffU);
      if (j + 1 < meant) {
        bytes += byte;
      } else if (byte != 0) {
        return std::nullopt;
      }
    }
  }
  return bytes;
}

/// Bytes of the character that the text begins with. 0 if that is not UTF-8. Surrogates and the like pass: the question
/// is only whether a terminal can show it.
std::size_t utf8_size(std::string_view text) {
  const auto first = static_cast<std::uint8_t>(text.front());
  const std::size_t size = first < 0x80   ? 1
                           : first < 0xc2 ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size > text.size()) {
    return 0;
  }
  for (std::size_t i = 1; i < size; ++i) {
    if ((static_cast<std::uint8_t>(text[i]) & 0xc0U) != 0x80) {
      return 0;
    }
  }
  // Longer than need be, surrogates, and beyond U+10FFFF: table 3-7 of the Unicode standard.
  const auto second = size > 1 ? static_cast<std::uint8_t>(text[1]) : 0;
  const bool none = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
                    (first == 0xf4 && second > 0x8f);
  return none ? 0 : size;
}

}  // namespace

void encode(encoding e, std::string_view bytes, std::string& text) {
  switch (e) {
    case encoding::utf8:
      text += bytes;
      break;
    case encoding::base64:
      to_base64(bytes, text);
      break;
    case encoding::hex:
      boost::algorithm::hex_lower(bytes.begin(), bytes.end(), std::back_inserter(text));
      break;
  }
}

std::optional<std::string> decode(encoding e, std::string_view text) {
  switch (e) {
    case encoding::utf8:
      break;
    case encoding::base64:
      return from_base64(text);
    case encoding::hex:
      try {
        std::string bytes;
        boost::algorithm::unhex(text.begin(), text.end(), std::back_inserter(bytes));
        return bytes;
      } catch (const boost::algorithm::hex_decode_error&) {
        return std::nullopt;
      }
  }
  return std::string(text);
}

const char* name_of(encoding e) noexcept {
  switch (e) {
    case encoding::base64:
      return "base64";
    case encoding::hex:
      return "hex";
    case encoding::utf8:
      break;
  }
  return "utf8";
}

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const auto size = utf8_size(text);
    const auto first = static_cast<std::uint8_t>(text.front());
    const bool ascii_control = (first < 0x20 && first != '\t' && first != '\n') || first == 0x7f;
    // U+0080 to U+009F. Some terminals obey them.
    const bool other_control = first == 0xc2 && size == 2 && static_cast<std::uint8_t>(text[1]) < 0xa0;
    if (size == 0 || ascii_control) {
      clean += fmt::format("\\x{:02x}", first);
      text.remove_prefix(1);
      continue;
    }
    if (other_control) {
      clean += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(text[1]));
    } else {
      clean += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return clean;
}

}  // namespace tool
