// SPDX-License-Identifier: Apache-2.0
//
// C and C++: clang with wasi-libc, of Debian, of the WASI SDK, or any that finds the library for its target.
#include "toolchain.hh"

#include "../exit_code.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace tool {

namespace {

namespace fs = std::filesystem;

constexpr int newest = 30;
constexpr int oldest = 14;

std::vector<std::string> candidates(bool plus) {
  const std::string base = plus ? "clang++" : "clang";
  std::vector<std::string> all;
  if (const char* given = std::getenv(plus ? "CXX" : "CC"); given != nullptr && std::string_view(given).find("clang") != std::string_view::npos) {
    all.emplace_back(given);
  }
  if (const char* sdk = std::getenv("WASI_SDK_PATH"); sdk != nullptr && *sdk != '\0') {
    all.push_back(fmt::format("{}/bin/{}", sdk, base));
  }
  all.push_back("/opt/wasi-sdk/bin/" + base);
  all.push_back(base);
  for (int version = newest; version >= oldest; --version) {
    all.push_back(fmt::format("{}-{}", base, version));
  }
  return all;
}

/// Whether clang knows where a file of the target's is. Otherwise it prints the name as it was given.
bool has_file(const std::string& program, const std::string& target, const char* file) {
  return answer({program, "--target=" + target, fmt::format("-print-file-name={}", file)}).find('/') != std::string::npos;
}

}  // namespace

wasi_clang find_clang(bool plus) {
  std::string without_library;
  for (const auto& candidate : candidates(plus)) {
    const auto program = find_program(candidate);
    if (!program) {
      continue;
    }
    for (const char* target : {"wasm32-wasip1", "wasm32-wasi"}) {
      if (has_file(*program, target, "libc.a") && (!plus || has_file(*program, target, "libc++.a"))) {
        return {*program, target, answer({*program, "-dumpversion"})};
      }
    }
    without_library = without_library.empty() ? *program : without_library;
  }
  const std::string get = fmt::format("apt-get install --no-install-recommends clang lld wasi-libc libclang-rt-dev-wasm32{}",
                                      plus ? " libc++-dev-wasm32 libc++abi-dev-wasm32" : "");
  if (without_library.empty()) {
    throw failure(exit_code::other, fmt::format("clang is missing: `{}`, or unpack the WASI SDK and set WASI_SDK_PATH", get));
  }
  throw failure(exit_code::other, fmt::format("{} has no {} for WASI: `{}`, or unpack the WASI SDK and set WASI_SDK_PATH",
                                              without_library, plus ? "C++ library" : "C library", get));
}

toolchain c_toolchain(const project& p, const build_settings& s) {
  const bool plus = p.language == language::cpp;
  const auto clang = find_clang(plus);
  toolchain t{fmt::format("clang {} for {}", clang.version, clang.target), {}, p.module()};
  child_command compile;
  // Clang deprecates the older name. Where only that has a library, the warning is of no use.
  compile.arguments = {clang.program, "--target=" + clang.target, "-Wno-deprecated", "-O2", "-Wall", "-Wextra", "-Isrc"};
  auto& arguments = compile.arguments;
  if (std::atoi(clang.version.c_str()) >= 19) {
    arguments.emplace_back("--no-wasm-opt");  // `build` runs it, and says so
  }
  if (plus) {
    arguments.insert(arguments.end(), {"-std=c++20", "-fno-exceptions"});
  } else {
    arguments.emplace_back("-std=c11");
  }
  arguments.emplace_back(s.debug ? "-g" : "-Wl,--strip-debug");
  // An overflow of the stack traps and does not overwrite data.
  arguments.insert(arguments.end(), {"-Wl,--stack-first", "-Wl,-z,stack-size=65536"});
  for (const auto& source : plus ? sources(p, {".cc", ".cpp", ".cxx"}) : sources(p, {".c"})) {
    arguments.push_back(source);
  }
  arguments.insert(arguments.end(), {"-o", t.made});
  t.steps.push_back(std::move(compile));
  return t;
}

std::vector<std::string> sources(const project& p, std::initializer_list<const char*> endings) {
  std::vector<std::string> all;
  std::error_code ignored;
  for (const auto& file : fs::recursive_directory_iterator(p.directory / "src", ignored)) {
    if (std::find(endings.begin(), endings.end(), file.path().extension().string()) != endings.end()) {
      all.push_back(fs::relative(file.path(), p.directory));
    }
  }
  if (all.empty()) {
    throw failure(exit_code::usage, fmt::format("{}/src has no file that ends with {}", p.directory.string(), *endings.begin()));
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::string answer(std::vector<std::string> arguments) {
  child_command command;
  command.arguments = std::move(arguments);
  const auto said = run_child(command);
  if (said.code != 0) {
    return "";
  }
  auto line = said.output.substr(0, said.output.find('\n'));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) {
    line.pop_back();
  }
  return line;
}

}  // namespace tool
