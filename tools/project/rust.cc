// SPDX-License-Identifier: Apache-2.0
//
// Rust: rustup's toolchains with the target added, Debian's with a standard library for it, and Debian's that makes one
// of its sources.
#include "toolchain.hh"

#include "../exit_code.hh"
#include "../file.hh"

#include <fmt/format.h>

#include <algorithm>

namespace tool {

namespace {

namespace fs = std::filesystem;

struct rust {
  std::string rustc;
  std::string cargo;
  std::string target;
  std::string version;
  fs::path library_source;  ///< Not empty: the standard library is made of it.
};

constexpr const char* debian_libc = "/usr/lib/wasm32-wasi";

std::string target_of(const std::string& rustc) {
  child_command list;
  list.arguments = {rustc, "--print", "target-list"};
  const auto known = "\n" + run_child(list).output;
  for (const char* target : {"wasm32-wasip1", "wasm32-wasi"}) {
    if (known.find(fmt::format("\n{}\n", target)) != known.npos) {
      return target;
    }
  }
  return "";
}

/// Whether there is a compiled standard library.
bool has_library(const std::string& rustc, const std::string& target) {
  const auto directory = answer({rustc, "--print", "target-libdir", "--target", target});
  std::error_code ignored;
  return !directory.empty() && fs::is_directory(directory, ignored);
}

/// Sources that carry what they depend on, as those of Debian's rust-src do.
fs::path library_source(const std::string& rustc) {
  const auto source = fs::path(answer({rustc, "--print", "sysroot"})) / "lib/rustlib/src/rust/library";
  std::error_code ignored;
  return fs::is_directory(source / "vendor", ignored) && fs::exists(fs::path(debian_libc) / "crt1-command.o", ignored)
             ? source
             : fs::path();
}

rust find_rust() {
  std::string seen;
  std::optional<rust> from_source;
  for (const char* name : {"rustc", "/usr/bin/rustc"}) {
    const auto rustc = find_program(name);
    const auto cargo = rustc ? find_program((fs::path(*rustc).parent_path() / "cargo").string()) : std::nullopt;
    const auto target = cargo ? target_of(*rustc) : "";
    if (target.empty()) {
      continue;
    }
    seen = seen.empty() ? *rustc : seen;
    rust found{*rustc, *cargo, target, answer({*rustc, "--version"}), {}};
    found.version = found.version.substr(0, found.version.find(" ("));
    if (has_library(*rustc, target)) {
      return found;
    }
    found.library_source = library_source(*rustc);
    if (!from_source && !found.library_source.empty()) {
      from_source = found;
    }
  }
  if (from_source) {
    return *from_source;
  }
  if (seen.empty()) {
    throw failure(exit_code::other, "Rust is missing: see https://rustup.rs, or `apt-get install rustc cargo libstd-rust-dev-wasm32`");
  }
  throw failure(exit_code::other,
                fmt::format("{} has no standard library for WASI: `rustup target add wasm32-wasip1`, or with Debian's Rust "
                            "`apt-get install libstd-rust-dev-wasm32`, or rust-web-src, lld-22 and wasi-libc for rustc-web",
                            seen));
}

/// Whether the project depends on packages of others. Their sources are then not only those of the standard library.
bool has_dependencies(const project& p) {
  std::error_code ignored;
  const auto lock = p.directory / "Cargo.lock";
  return fs::exists(lock, ignored) && read_text(lock).find("\nsource = ") != std::string::npos;
}

}  // namespace

toolchain rust_toolchain(const project& p, const build_settings& s) {
  const auto found = find_rust();
  const auto target_directory = p.directory / "target";
  toolchain t{fmt::format("{} for {}", found.version, found.target), {},
              target_directory / found.target / "release" / (p.name + ".wasm")};
  child_command build;
  build.arguments = {found.cargo, "build", "--release", "--quiet", "--target", found.target};
  build.environment = {{"RUSTC", found.rustc}, {"CARGO_TARGET_DIR", target_directory}, {"CARGO_BUILD_RUSTFLAGS", ""}, {"RUSTFLAGS", ""}};
  if (s.debug) {
    build.environment.emplace_back("CARGO_PROFILE_RELEASE_DEBUG", "true");
    build.environment.emplace_back("CARGO_PROFILE_RELEASE_STRIP", "none");
  }
  if (!found.library_source.empty()) {
    auto upper = found.target;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    // The linker gets Debian's wasi-libc, which Rust's own distribution would bring along. -Z wants RUSTC_BOOTSTRAP.
    build.environment.emplace_back(fmt::format("CARGO_TARGET_{}_RUSTFLAGS", upper),
                                   fmt::format("-C link-self-contained=no -C link-arg={0}/crt1-command.o -L native={0}", debian_libc));
    build.environment.emplace_back("RUSTC_BOOTSTRAP", "1");
    build.arguments.insert(build.arguments.end(), {"-Z", "build-std=std,panic_abort"});
    if (!has_dependencies(p)) {
      const auto vendored = fmt::format("source.std.directory=\"{}\"", (found.library_source / "vendor").string());
      build.arguments.insert(build.arguments.end(),
                             {"--offline", "--config", "source.crates-io.replace-with=\"std\"", "--config", vendored});
    }
    t.name += ", with the standard library from its sources";
  }
  t.steps.push_back(std::move(build));
  return t;
}

}  // namespace tool
