// SPDX-License-Identifier: Apache-2.0
#include "sizes.hh"

#include "bytes.hh"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

namespace tool {

namespace {

constexpr std::array<const char*, 14> section_names = {"custom", "type",   "import", "function", "table", "memory",     "global",
                                                       "export", "start", "element", "code",   "data",  "data count", "tag"};
constexpr std::uint8_t custom = 0;
constexpr std::uint8_t import_section = 2;
constexpr std::uint8_t code = 10;
constexpr std::uint8_t function_names = 1;  // a part of the custom section "name"

/// Counts imported functions: their indices come before those of the code section.
std::uint32_t imported_functions(byte_reader section) {
  std::uint32_t functions = 0;
  const auto limits = [&section] {
    const auto flags = section.byte();
    (void)section.leb();
    if ((flags & 1U) != 0) {
      (void)section.leb();
    }
  };
  for (auto left = section.leb(); left > 0 && !section.failed(); --left) {
    (void)section.take(section.leb());
    (void)section.take(section.leb());
    switch (section.byte()) {
      case 0: (void)section.leb(); ++functions; break;
      case 1: (void)section.byte(); limits(); break;
      case 2: limits(); break;
      case 3: (void)section.take(2); break;
      case 4: (void)section.byte(); (void)section.leb(); break;
      default: return functions;
    }
  }
  return functions;
}

void read_code(byte_reader section, std::uint32_t first, module_sizes& sizes, std::vector<std::uint32_t>& indices) {
  for (auto left = section.leb(); left > 0 && !section.failed(); --left) {
    const auto size = section.leb();
    (void)section.take(size);
    if (!section.failed()) {
      sizes.functions.push_back({"", size});
      indices.push_back(first++);
    }
  }
  sizes.whole = sizes.whole && !section.failed();
}

std::map<std::uint32_t, std::string> read_names(byte_reader section) {
  std::map<std::uint32_t, std::string> names;
  while (!section.empty() && !section.failed()) {
    const auto kind = section.byte();
    byte_reader part(section.take(section.leb()));
    if (kind != function_names) {
      continue;
    }
    for (auto left = part.leb(); left > 0 && !part.failed(); --left) {
      const auto index = part.leb();
      names[index] = part.text(part.leb());
    }
  }
  return names;
}

}  // namespace

module_sizes sizes_of_module(std::span<const std::uint8_t> module) {
  module_sizes sizes;
  byte_reader rest(module);
  (void)rest.take(8);  // magic and version
  std::uint32_t imported = 0;
  std::vector<std::uint32_t> indices;
  std::map<std::uint32_t, std::string> names;
  while (!rest.empty()) {
    const auto before = rest.size();
    const auto id = rest.byte();
    const auto content = rest.take(rest.leb());
    if (rest.failed()) {
      break;
    }
    byte_reader section(content);
    std::string name = id < section_names.size() ? section_names.at(id) : fmt::format("section {}", id);
    if (id == custom) {
      const auto own = section.text(section.leb());
      name = fmt::format("custom \"{}\"", own);
      if (own == "name") {
        names = read_names(section);
      }
    } else if (id == import_section) {
      imported = imported_functions(section);
    } else if (id == code) {
      read_code(section, imported, sizes, indices);
    }
    sizes.sections.push_back({name, before - rest.size()});
  }
  sizes.whole = sizes.whole && !rest.failed();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto named = names.find(indices[i]);
    sizes.functions[i].name = named != names.end() ? named->second : fmt::format("function {}", indices[i]);
  }
  std::stable_sort(sizes.functions.begin(), sizes.functions.end(), [](const part& a, const part& b) { return a.size > b.size; });
  return sizes;
}

}  // namespace tool
