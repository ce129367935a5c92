// SPDX-License-Identifier: Apache-2.0
#include "terminal.hh"

#include <fmt/format.h>

#include <cstdlib>
#include <unistd.h>

namespace tool {

bool has_colours(int fd) {
  const char* none = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  return (none == nullptr || *none == '\0') && kind != nullptr && std::string_view(kind) != "dumb" && ::isatty(fd) == 1;
}

std::string in_colour(bool coloured, colour which, std::string_view text) {
  if (!coloured) {
    return std::string(text);
  }
  const char* code = "1";
  switch (which) {
    case colour::red: code = "31"; break;
    case colour::green: code = "32"; break;
    case colour::yellow: code = "33"; break;
    case colour::bold: break;
  }
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

}  // namespace tool
