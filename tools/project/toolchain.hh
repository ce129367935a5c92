// SPDX-License-Identifier: Apache-2.0
//
// The compilers of a machine. Each is asked which of WASI's names it knows: wasm32-wasip1, or wasm32-wasi as before.
#pragma once

#include "project.hh"

#include "../child.hh"

#include <string>
#include <vector>

namespace tool {

/// What makes a module of a project: commands in their order.
struct toolchain {
  std::string name;    ///< For the user, as in `clang 22.1.8 for wasm32-wasi`.
  std::vector<child_command> steps;
  std::filesystem::path made;  ///< Where the last of them leaves the module.
};

/// Builds with debug information.
struct build_settings {
  bool debug = false;
};

/// Each throws `failure` if something is missing, which says in one line what and how to get it.
[[nodiscard]] toolchain c_toolchain(const project& p, const build_settings& s);
[[nodiscard]] toolchain rust_toolchain(const project& p, const build_settings& s);
[[nodiscard]] toolchain go_toolchain(const project& p, const build_settings& s);
[[nodiscard]] toolchain js_toolchain(const project& p, const build_settings& s);

/// A clang that has a C library for WASI.
struct wasi_clang {
  std::string program;
  std::string target;
  std::string version;
};

/// `plus` for C++, which wants libc++. Throws `failure`.
[[nodiscard]] wasi_clang find_clang(bool plus);

/// Sources of a project: files in `src` with one of the endings, sorted. Throws `failure` if there are none.
[[nodiscard]] std::vector<std::string> sources(const project& p, std::initializer_list<const char*> endings);

/// The first line that a command prints, without spaces at its end. Empty if it fails.
[[nodiscard]] std::string answer(std::vector<std::string> arguments);

}  // namespace tool
