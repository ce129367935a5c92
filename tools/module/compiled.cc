// SPDX-License-Identifier: Apache-2.0
//
// The output of `precompile`, as far as it says what it is. src/module/artifact.rs has the format.
#include "sizes.hh"

#include "bytes.hh"

#include "../exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace tool {

namespace {

constexpr std::string_view magic = "\xc3wasmaot";
constexpr std::uint64_t format = 5;
constexpr std::size_t fixed = 56;  // bytes before the head

struct opened {
  byte_reader head;
  std::span<const std::uint8_t> code;
};

opened open(std::span<const std::uint8_t> file) {
  byte_reader rest(file);
  const auto begin = rest.text(magic.size());
  const auto version = rest.number(4);
  const auto head_size = rest.number(4);
  (void)rest.take(fixed - magic.size() - 8);
  const auto head = rest.take(head_size);
  if (begin != magic || version != format || rest.failed()) {
    throw failure(exit_code::module_refused, "module-artifact-damaged: it is no compiled module of this version");
  }
  return {byte_reader(head), file.subspan(fixed + static_cast<std::size_t>(head_size))};
}

/// Sections of an ELF file of 64 bits, little-endian.
void add_elf(std::span<const std::uint8_t> elf, module_sizes& sizes) {
  const auto at = [elf](std::uint64_t offset) {
    return byte_reader(elf.subspan(static_cast<std::size_t>(std::min<std::uint64_t>(offset, elf.size()))));
  };
  auto header = at(0);
  if (header.text(4) != "\x7f" "ELF") {
    sizes.sections.push_back({"code", elf.size()});
    return;
  }
  auto table = at(0x28);
  const auto sections = table.number(8);
  auto counts = at(0x3a);
  const auto entry = counts.number(2);
  const auto count = counts.number(2);
  const auto names_index = counts.number(2);
  struct section {
    std::uint64_t name, offset, size;
  };
  std::vector<section> all;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto one = at(sections + i * entry);
    const auto name = one.number(4);
    (void)one.take(20);
    const auto offset = one.number(8);
    all.push_back({name, offset, one.number(8)});
    sizes.whole = sizes.whole && !one.failed();
  }
  if (names_index >= all.size()) {
    sizes.whole = false;
    return;
  }
  for (const auto& one : all) {
    auto names = at(all[static_cast<std::size_t>(names_index)].offset + one.name);
    std::string name;
    for (auto c = names.byte(); c != 0 && name.size() < 64; c = names.byte()) {
      name += static_cast<char>(c);
    }
    if (!name.empty()) {
      sizes.sections.push_back({name, one.size});
    }
  }
}

}  // namespace

module_sizes sizes_of_compiled(std::span<const std::uint8_t> file) {
  const auto parts = open(file);
  module_sizes sizes;
  sizes.sections.push_back({"head", fixed + parts.head.size()});
  add_elf(parts.code, sizes);
  return sizes;
}

compiled_head head_of_compiled(std::span<const std::uint8_t> file) {
  auto head = open(file).head;
  const auto list = [&head] { return head.text(head.number(4)); };
  compiled_head c;
  c.wasmtime = list();
  c.library = list();
  (void)head.take(4);
  c.target = list();
  (void)list();         // settings
  (void)head.take(32);  // its key in a cache
  for (const auto b : head.take(32)) {
    c.module += fmt::format("{:02x}", b);
  }
  c.module_size = head.number(8);
  if (head.failed()) {
    throw failure(exit_code::module_refused, "module-artifact-damaged: its head is cut short");
  }
  return c;
}

}  // namespace tool
