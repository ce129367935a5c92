// SPDX-License-Identifier: Apache-2.0
//
// What the bytes of a module are spent on: sections, and functions of the code section.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tool {

struct part {
  std::string name;
  std::uint64_t size = 0;  ///< Bytes.
};

struct module_sizes {
  std::vector<part> sections;   ///< In their order.
  std::vector<part> functions;  ///< The largest first. Without a name: `function 17`.
  bool whole = true;            ///< Not so if the module ended early or had numbers beyond its end.
};

/// Of a module in the binary format. Takes any bytes.
[[nodiscard]] module_sizes sizes_of_module(std::span<const std::uint8_t> module);

/// Of the output of `precompile`: its head, and the sections of the ELF file of code in it.
[[nodiscard]] module_sizes sizes_of_compiled(std::span<const std::uint8_t> file);

/// What the head of a compiled module says.
struct compiled_head {
  std::string wasmtime;  ///< Versions.
  std::string library;
  std::string target;
  std::string module;    ///< SHA-256 of the module.
  std::uint64_t module_size = 0;
};

/// Throws `failure` if the bytes are no compiled module.
[[nodiscard]] compiled_head head_of_compiled(std::span<const std::uint8_t> file);

}  // namespace tool
