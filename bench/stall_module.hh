// SPDX-License-Identifier: Apache-2.0
//
// Transforms whose single instructions or host calls take long, written by hand as bytes: no compiler makes them, and
// some are tens of megabytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace bench::wasm {

using namespace std::string_literals;
using code = std::string;

inline code leb(std::uint64_t n) {
  code out;
  for (; n > 0x7f; n >>= 7) {
    out += static_cast<char>(n | 0x80);
  }
  return out += static_cast<char>(n);
}

inline code i32(std::int64_t n) {
  code out = "\x41";
  for (;; n >>= 7) {
    const bool last = n >= -64 && n < 64;
    out += static_cast<char>(last ? n & 0x7f : (n & 0x7f) | 0x80);
    if (last) {
      return out;
    }
  }
}

inline code i32s(std::initializer_list<std::int64_t> numbers) {
  code out;
  for (const auto n : numbers) {
    out += i32(n);
  }
  return out;
}

inline code sized(std::string_view content) { return leb(content.size()) + code(content); }
inline code call(std::uint32_t function) { return "\x10" + leb(function); }
inline code bulk(std::uint32_t which, std::initializer_list<std::uint32_t> immediates) {
  code out = "\xfc" + leb(which);
  for (const auto i : immediates) {
    out += leb(i);
  }
  return out;
}
inline code forever(const code& body) { return "\x03\x40"s + body + "\x0c\x00\x0b"s; }

inline const code drop = "\x1a";
inline const code unreachable = "\x00"s;
inline const code null_function = "\xd0\x70";

/// Host functions by their index. `extra` is the one that a module imports besides.
enum : std::uint32_t { check_abi, read_batch_header, read_next_record, write_record, extra };

/// What a module has beside what all have. `_start` runs `before` once and `record` for each record.
struct module {
  code record{};
  code before{};
  /// A function of WASI with so many parameters of type i32 and a result.
  std::string import_name{};
  int import_params = 0;
  std::uint32_t pages = 1024;
  /// Bytes for a record.
  std::int64_t buffer = 60'000;
  std::uint32_t table = 0;
  bool table_of_functions = false;  // Its elements are not null at first.
  std::size_t passive_data = 0;
  std::size_t active_data = 0;
  std::uint32_t elements = 0;
  /// Functions each of which calls the next, with this name in their name section. The last one may trap.
  std::uint32_t calls = 0;
  bool last_traps = false;
  std::string name{};
  bool start_function = false;  // It fills memory.

  [[nodiscard]] std::uint32_t imports() const { return import_name.empty() ? extra : extra + 1; }
  /// The index of a function that does nothing.
  [[nodiscard]] std::uint32_t own() const { return imports() + 1; }
  [[nodiscard]] std::uint32_t first_call() const { return imports() + 3; }
  [[nodiscard]] code ref_own() const { return "\xd2" + leb(own()); }

  [[nodiscard]] std::vector<std::uint8_t> bytes() const {
    const auto section = [](char id, const code& content) { return code(1, id) + sized(content); };
    const auto list = [](const std::vector<code>& items) {
      code out = leb(items.size());
      for (const auto& item : items) {
        out += item;
      }
      return out;
    };
    const auto type = [](int params, int results) {
      return "\x60" + leb(static_cast<std::uint64_t>(params)) + code(static_cast<std::size_t>(params), '\x7f') +
             leb(static_cast<std::uint64_t>(results)) + code(static_cast<std::size_t>(results), '\x7f');
    };
    const auto import = [](std::string_view from, std::string_view what, std::uint32_t ty) {
      return sized(from) + sized(what) + '\0' + leb(ty);
    };
    const auto body = [](const code& content) { return sized("\x00"s + content + "\x0b"); };
    constexpr std::string_view abi = "redpanda_transform";

    code out = "\0asm\1\0\0\0"s;
    out += section(1, list({type(0, 0), type(10, 1), type(5, 1), type(2, 1), type(import_params, 1)}));
    std::vector<code> imported{import(abi, "check_abi_version_1", 0), import(abi, "read_batch_header", 1),
                               import(abi, "read_next_record", 2), import(abi, "write_record", 3)};
    if (!import_name.empty()) {
      imported.push_back(import("wasi_snapshot_preview1", import_name, 4));
    }
    out += section(2, list(imported));
    out += section(3, list(std::vector<code>(3 + calls, leb(0))));
    if (table != 0) {
      const code plain = "\x70\x00"s + leb(table);
      out += section(4, list({table_of_functions ? "\x40\x00"s + plain + ref_own() + "\x0b" : plain}));
    }
    out += section(5, list({"\x00"s + leb(pages)}));
    out += section(7, list({sized("memory") + "\x02\x00"s, sized("_start") + "\x00"s + leb(imports())}));
    if (start_function) {
      out += section(8, leb(imports() + 2));
    }
    // A declaration of `own` and the functions of a passive segment.
    std::vector<code> segments{"\x03\x00\x01"s + leb(own())};
    if (elements != 0) {
      segments.push_back("\x01\x00"s + list(std::vector<code>(elements, leb(own()))));
    }
    out += section(9, list(segments));
    const std::size_t data_count = (passive_data != 0 ? 1U : 0U) + (active_data != 0 ? 1U : 0U);
    out += section(12, leb(data_count));

    code start = before + "\x03\x40"s + i32s({0, 8, 16, 24, 32, 40, 48, 56, 64, 72}) + call(read_batch_header) + drop;
    start += "\x02\x40\x03\x40"s + i32s({80, 88, 96, 1024, buffer}) + call(read_next_record);
    start += i32(0) + "\x48\x0d\x01"s + record + "\x0c\x00\x0b\x0b\x0c\x00\x0b"s;
    const code fill = i32s({0, 1, std::int64_t{pages} << 16}) + bulk(11, {0});
    std::vector<code> bodies{body(start), body(""), body(start_function ? fill + fill + fill + fill : "")};
    for (std::uint32_t i = 0; i < calls; ++i) {
      const code last = last_traps ? unreachable : "";
      bodies.push_back(body(i + 1 == calls ? last : call(first_call() + i + 1)));
    }
    out += section(10, list(bodies));
    std::vector<code> data;
    if (passive_data != 0) {
      data.push_back("\x01" + sized(code(passive_data, 'x')));
    }
    if (active_data != 0) {
      data.push_back("\x00"s + i32(65'536) + "\x0b" + sized(code(active_data, 'x')));
    }
    out += section(11, list(data));
    if (!name.empty()) {
      std::vector<code> names;
      for (std::uint32_t i = 0; i < calls; ++i) {
        names.push_back(leb(first_call() + i) + sized(name));
      }
      out += section(0, sized("name") + "\x01" + sized(list(names)));
    }
    return {out.begin(), out.end()};
  }
};

}  // namespace bench::wasm
