// SPDX-License-Identifier: Apache-2.0
//
// JavaScript: QuickJS compiled by clang, with the scripts beside it. The objects of QuickJS are kept for the next time.
#include "toolchain.hh"

#include "templates.hh"

#include "../exit_code.hh"
#include "../file.hh"
#include "../output_files.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <unistd.h>

namespace tool {

namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

fs::path home_or(const char* name, const char* in_home) {
  const auto given = variable(name);
  return given.empty() ? fs::path(variable("HOME")) / in_home : fs::path(given);
}

bool is_quickjs(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(directory / "quickjs.c", ignored) && fs::exists(directory / "libregexp.c", ignored) &&
         fs::exists(directory / "dtoa.c", ignored);
}

/// Cargo keeps the sources of a crate that carries QuickJS. The newest is the last by its name.
fs::path in_cargo() {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& registry : fs::directory_iterator(home_or("CARGO_HOME", ".cargo") / "registry/src", ignored)) {
    for (const auto& crate : fs::directory_iterator(registry.path(), ignored)) {
      if (crate.path().filename().string().starts_with("rquickjs-sys-") && is_quickjs(crate.path() / "quickjs")) {
        found.push_back(crate.path() / "quickjs");
      }
    }
  }
  const auto newest = std::max_element(found.begin(), found.end());
  return newest == found.end() ? fs::path() : *newest;
}

fs::path find_quickjs() {
  if (const auto given = variable("QUICKJS_SOURCE"); !given.empty()) {
    if (!is_quickjs(given)) {
      throw failure(exit_code::usage, fmt::format("QUICKJS_SOURCE: {} has no QuickJS-ng: no quickjs.c, libregexp.c and dtoa.c", given));
    }
    return given;
  }
  const auto found = in_cargo();
  if (found.empty()) {
    throw failure(exit_code::other,
                  "the sources of QuickJS are missing: `cargo info rquickjs-sys@0.14.0` fetches a crate that carries them, or "
                  "QUICKJS_SOURCE names the directory of QuickJS-ng");
  }
  return found;
}

/// A string of C. Trigraphs are no concern: C11 compilers ask for them by an option.
std::string c_string(std::string_view text) {
  std::string out = "\"";
  for (const unsigned char c : text) {
    if (c == '\n') {
      out += "\\n\"\n\"";
    } else if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '?') {
      out += fmt::format("\\{:03o}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + '"';
}

/// The scripts as a table in C. `src/transform.js` is where the transform begins.
void write_scripts(const project& p, const fs::path& to) {
  std::string text = "#include \"scripts.h\"\n\nconst struct script scripts[] = {\n";
  for (const auto& source : sources(p, {".js", ".mjs"})) {
    const auto script = read_text(p.directory / source);
    text += fmt::format("{{{}, {}, {}}},\n", c_string(fs::path(source).lexically_relative("src").string()), c_string(script), script.size());
  }
  text += "{0, 0, 0}};\n";
  output_file file(to);
  file.write(text);
  file.commit();
}

}  // namespace

toolchain js_toolchain(const project& p, const build_settings& s) {
  const auto clang = find_clang(false);
  const auto quickjs = find_quickjs();
  const auto glue = templates() / "js-guest";
  if (!fs::exists(p.directory / "src/transform.js")) {
    throw failure(exit_code::usage, fmt::format("{}/src/transform.js is not there: a transform in JavaScript begins in it", p.directory.string()));
  }
  const auto version = quickjs.parent_path().filename().string();
  const auto cache = home_or("XDG_CACHE_HOME", ".cache") / "wasm-transform" /
                     fmt::format("{}-clang-{}-{}", version.empty() ? "quickjs" : version, clang.version, clang.target);
  toolchain t{fmt::format("QuickJS and clang {} for {}", clang.version, clang.target), {}, p.module()};
  try {
    fs::create_directories(cache);
  } catch (const fs::filesystem_error& e) {
    throw failure(exit_code::other, e.what());
  }
  const std::vector<std::string> common = {clang.program, "--target=" + clang.target, "-Wno-deprecated", "-O2", "-D_GNU_SOURCE"};
  std::vector<std::string> objects;
  for (const char* name : {"quickjs", "libregexp", "libunicode", "dtoa"}) {
    const auto source = quickjs / fmt::format("{}.c", name);
    const auto object = cache / fmt::format("{}.o", name);
    objects.push_back(object);
    if (fs::exists(object) && fs::last_write_time(object) >= fs::last_write_time(source)) {
      continue;
    }
    // An object that is there is whole: it gets its name when it is.
    const auto part = object.string() + fmt::format(".{}", ::getpid());
    child_command compile;
    compile.arguments = common;
    compile.arguments.insert(compile.arguments.end(), {"-w", "-c", source, "-o", part});
    t.steps.push_back(compile);
    child_command name_it;
    name_it.arguments = {"mv", part, object};
    t.steps.push_back(name_it);
  }
  fs::create_directories(p.directory / "build");
  write_scripts(p, p.directory / "build/scripts.c");
  child_command link;
  link.arguments = common;
  link.arguments.insert(link.arguments.end(), {"-std=c11", "-Wall", "-Wextra", "-I" + glue.string(), "-isystem", quickjs.string(),
                                               "build/scripts.c", glue / "glue.c"});
  link.arguments.insert(link.arguments.end(), objects.begin(), objects.end());
  link.arguments.insert(link.arguments.end(), {s.debug ? "-g" : "-Wl,--strip-debug", "-Wl,--stack-first", "-Wl,-z,stack-size=1048576", "-o", t.made});
  t.steps.push_back(std::move(link));
  return t;
}

}  // namespace tool
