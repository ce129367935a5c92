// SPDX-License-Identifier: Apache-2.0
#include "json_text.hh"

#include <fmt/format.h>
#include <simdjson.h>

#include <iterator>

namespace tool {

namespace {

/// Appends what stands for a character that may not be in quotes.
void append_escape(char c, std::string& out) {
  switch (c) {
    case '"':
    case '\\':
      out += '\\';
      out += c;
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
  }
}

constexpr bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

}  // namespace

bool is_utf8(std::string_view bytes) noexcept { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

void append_json(std::string_view text, std::string& out) {
  out += '"';
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (needs_escape(text[i])) {
      out += text.substr(plain, i - plain);
      append_escape(text[i], out);
      plain = i + 1;
    }
  }
  out += text.substr(plain);
  out += '"';
}

std::string json_text(std::string_view text) {
  std::string quoted;
  append_json(text, quoted);
  return quoted;
}

}  // namespace tool
