// SPDX-License-Identifier: Apache-2.0
#include "xml.hh"

#include "encoding.hh"

namespace tool {

std::string xml(std::string_view text) {
  // How U+FFFE and U+FFFF begin in UTF-8.
  constexpr std::string_view none = "\xef\xbf";
  const auto clean = printable(text);
  std::string out;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    if (clean.compare(i, none.size(), none) == 0 && static_cast<unsigned char>(clean[i + 2]) >= 0xbe) {
      out += clean[i + 2] == '\xbe' ? "\\ufffe" : "\\uffff";
      i += 2;
      continue;
    }
    switch (clean[i]) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += clean[i];
    }
  }
  return out;
}

}  // namespace tool
