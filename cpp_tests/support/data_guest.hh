// SPDX-License-Identifier: Apache-2.0
//
// A guest with as much data as a test wants: wat/m_data.wat with more segments.
#pragma once

#include "large_module.hh"
#include "memory_modes.hh"

#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace data_guest {

using namespace memory_modes;

/// An active segment.
struct segment {
  std::optional<std::uint32_t> offset;  ///< Nothing: `computed_offset`, as a sum.
  std::string bytes;
};

constexpr std::uint32_t computed_offset = 90'000;
/// What the guest works with is below.
constexpr std::uint32_t first = 8'192;
constexpr std::uint32_t page = 4'096;

/// Bytes that differ from page to page.
inline std::string text(std::size_t size, unsigned seed) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = static_cast<char>(i * 7 + i / 4'096 + seed);
  }
  return out;
}

inline void put_signed(std::vector<std::uint8_t>& out, std::int64_t value) {
  for (;; value >>= 7) {
    const auto low = static_cast<std::uint8_t>(value & 0x7f);
    if ((value >> 6) == 0 || (value >> 6) == -1) {
      out.push_back(low);
      return;
    }
    out.push_back(low | 0x80);
  }
}

/// wat/m_data.wat with so many pages of memory and with segments behind its own.
inline kafka::bytes with_data(std::uint32_t pages, const std::vector<segment>& segments) {
  const auto module = host_guest::module("m_data");
  wasm_reader in(module);
  kafka::bytes out;
  put(out, in.take(8));
  while (!in.is_over()) {
    const auto id = in.byte();
    const auto content = in.take(in.number());
    kafka::bytes changed(content.begin(), content.end());
    if (id == 5) {
      changed = {1, 0};
      put_number(changed, pages);
    } else if (id == 11 || id == 12) {
      wasm_reader section(content);
      changed.clear();
      put_number(changed, section.number() + segments.size());
      put(changed, section.rest());
    }
    if (id == 11) {
      for (const auto& s : segments) {
        changed.push_back(0);
        changed.push_back(0x41);
        put_signed(changed, static_cast<std::int32_t>(s.offset.value_or(computed_offset - 1)));
        if (!s.offset) {
          put(changed, std::vector<std::uint8_t>{0x41, 1, 0x6a});
        }
        changed.push_back(0x0b);
        put_number(changed, s.bytes.size());
        put(changed, std::span(reinterpret_cast<const std::uint8_t*>(s.bytes.data()), s.bytes.size()));
      }
    }
    out.push_back(id);
    put_number(out, changed.size());
    put(out, changed);
  }
  return out;
}

/// What the specification says is in the memory then.
inline std::string memory_of(std::uint32_t pages, const std::vector<segment>& segments) {
  std::string memory(pages * 64 * kib, '\0');
  for (const auto& s : segments) {
    memory.replace(s.offset.value_or(computed_offset), s.bytes.size(), s.bytes);
  }
  return memory;
}

inline std::int64_t hash(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
  }
  return static_cast<std::int64_t>(hash);
}

/// 1 MB in segments that overlap, at odd places and at the borders of pages, with gaps, up to the memory's end.
constexpr std::uint32_t pages_of_much = 40;
inline const std::vector<segment>& much() {
  static const std::vector<segment> segments{
      {9'001, text(300'000, 1)},
      {8'999, text(10, 2)},
      {16 * page, text(page, 3)},
      {16 * page - 1, text(2, 4)},
      {100'000, std::string(20'000, '\0')},
      {350'003, text(700'000, 5)},
      {350'003, text(1, 6)},
      {1'050'000, text(4'097, 7)},
      {1'100'000, ""},
      {std::nullopt, text(30'000, 8)},
      {100'001, text(1'000, 9)},
      {1'099'999, std::string(17, '\0')},
      {pages_of_much * 64 * kib - 5, "at it"},
      {pages_of_much * 64 * kib, ""},
  };
  return segments;
}

/// What the guest can be asked for.
enum data_work : std::uint32_t { hash_from, exchange, init, drop, grow_data, fail };

inline std::int64_t ask_data(we::engine& engine, data_work what, std::uint32_t n = 0) {
  return ask(engine, static_cast<memory_work>(what), n);
}

inline we::factory compiled(const we::runtime& runtime, const kafka::bytes& module) {
  auto compilation = runtime.compile(module, {"tested", "in", {"out"}, {}}).value();
  we::drive(compilation).value();
  return compilation.take().value();
}

inline std::int64_t expected_hash() {
  static const auto all = hash(std::string_view(memory_of(pages_of_much, much())).substr(first));
  return all;
}

inline void expect_much(const we::factory& factory) {
  auto engine = started(factory);
  EXPECT_EQ(ask_data(engine, hash_from, first), expected_hash());
}

}  // namespace data_guest
