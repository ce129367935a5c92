// SPDX-License-Identifier: Apache-2.0
//
// A module that takes long to compile: another one with many functions that are never called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

namespace testing_support {

/// Sections of a module, to be read one after another.
class wasm_reader {
 public:
  explicit wasm_reader(std::span<const std::uint8_t> bytes) : _rest(bytes) {}

  [[nodiscard]] bool is_over() const { return _rest.empty(); }
  std::uint8_t byte() {
    const auto first = take(1);
    return first[0];
  }
  std::uint32_t number() {
    std::uint32_t value = 0;
    for (int shift = 0;; shift += 7) {
      const std::uint8_t b = byte();
      value |= static_cast<std::uint32_t>(b & 0x7f) << shift;
      if (b < 0x80) {
        return value;
      }
    }
  }
  std::span<const std::uint8_t> take(std::size_t size) {
    if (size > _rest.size()) {
      throw std::runtime_error("the module is cut off");
    }
    const auto front = _rest.first(size);
    _rest = _rest.subspan(size);
    return front;
  }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return _rest; }

 private:
  std::span<const std::uint8_t> _rest;
};

inline void put_number(std::vector<std::uint8_t>& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) {
    out.push_back(static_cast<std::uint8_t>(value | 0x80));
  }
  out.push_back(static_cast<std::uint8_t>(value));
}

inline void put(std::vector<std::uint8_t>& out, std::span<const std::uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// `module` with `functions` more of some 2,000 bytes. They have the type of one that takes and returns nothing.
inline std::vector<std::uint8_t> enlarged(std::span<const std::uint8_t> module, std::size_t functions) {
  std::vector<std::uint8_t> body{1, 1, 0x7f};  // one local, an i32
  for (int i = 0; i < 200; ++i) {
    // local 0 = (local 0 + i) rotated by local 0
    put(body, std::vector<std::uint8_t>{0x20, 0, 0x41, static_cast<std::uint8_t>(i % 64), 0x6a, 0x20, 0, 0x77, 0x21, 0});
  }
  body.push_back(0x0b);
  wasm_reader in(module);
  std::vector<std::uint8_t> out;
  put(out, in.take(8));
  std::uint32_t type = 0;
  while (!in.is_over()) {
    const std::uint8_t id = in.byte();
    const auto content = in.take(in.number());
    wasm_reader section(content);
    std::vector<std::uint8_t> changed(content.begin(), content.end());
    if (id == 1) {
      const std::uint32_t types = section.number();
      for (type = 0; type < types; ++type) {
        section.byte();
        const std::uint32_t parameters = section.number();
        section.take(parameters);
        const std::uint32_t results = section.number();
        section.take(results);
        if (parameters + results == 0) {
          break;
        }
      }
    } else if (id == 3 || id == 10) {
      changed.clear();
      put_number(changed, section.number() + functions);
      put(changed, section.rest());
      for (std::size_t i = 0; i < functions; ++i) {
        if (id == 3) {
          put_number(changed, type);
        } else {
          put_number(changed, body.size());
          put(changed, body);
        }
      }
    }
    out.push_back(id);
    put_number(out, changed.size());
    put(out, changed);
  }
  return out;
}

}  // namespace testing_support
