// SPDX-License-Identifier: Apache-2.0
#include "build.hh"

#include "toolchain.hh"

#include "../encoding.hh"
#include "../exit_code.hh"
#include "../file.hh"
#include "../interruption.hh"
#include "../report.hh"

#include <wasm_engine/wasm_engine.hh>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tool {

namespace {

namespace fs = std::filesystem;

toolchain choose(const project& p, const build_settings& s) {
  switch (p.language) {
    case language::rust: return rust_toolchain(p, s);
    case language::go: return go_toolchain(p, s);
    case language::js: return js_toolchain(p, s);
    case language::c:
    case language::cpp: break;
  }
  return c_toolchain(p, s);
}

/// Compilers write to standard error what the author is to read.
void run_steps(const project& p, const toolchain& t) {
  for (auto step : t.steps) {
    step.directory = p.directory;
    step.shows_errors = true;
    if (const auto done = run_child(step); done.code != 0) {
      fmt::print(stderr, "{}", done.output);
      throw failure(exit_code::other, fmt::format("{} ended with {}", fs::path(step.arguments.front()).filename().string(), done.code));
    }
  }
}

/// Makes the module smaller and faster if wasm-opt is there. Names of functions stay: messages have them.
std::string optimize(const fs::path& module) {
  if (!find_program("wasm-opt")) {
    return "";
  }
  const auto part = module.string() + ".opt";
  child_command command;
  command.arguments = {"wasm-opt", "-O3", "-g", "--enable-bulk-memory", "--enable-sign-ext", "--enable-nontrapping-float-to-int",
                       "--enable-reference-types", "--enable-multivalue", "--enable-mutable-globals", module, "-o", part};
  const auto done = run_child(command);
  std::error_code ignored;
  if (done.code != 0) {
    fs::remove(part, ignored);
    fmt::print(stderr, "wasm-transform: wasm-opt failed and was left out: {}\n", printable(done.errors.substr(0, done.errors.find('\n'))));
    return "";
  }
  fs::rename(part, module);
  return " and wasm-opt";
}

/// A host would refuse it at the start. Better now.
void check(const fs::path& module) {
  const auto runtime = wasmengine::runtime::create().value();
  if (const auto accepted = runtime.validate(read_module(module)); !accepted) {
    throw failure(exit_code::module_refused, fmt::format("{}: {}: {}", module.string(), accepted.err().status_name(),
                                                         printable(accepted.err().what())));
  }
}

}  // namespace

void build(const project& p, const build_options& o) {
  const auto begin = std::chrono::steady_clock::now();
  const auto module = p.module();
  try {
    fs::create_directories(module.parent_path());
    const auto t = choose(p, {o.debug});
    run_steps(p, t);
    if (t.made != module) {
      fs::copy_file(t.made, module, fs::copy_options::overwrite_existing);
    }
    const auto optimized = o.debug ? "" : optimize(module);
    check(module);
    if (o.json) {
      const nlohmann::ordered_json all = {{"module", module.string()},
                                          {"size", fs::file_size(module)},
                                          {"toolchain", t.name},
                                          {"wasm_opt", !optimized.empty()},
                                          {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}};
      fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    } else if (!o.quiet) {
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
      fmt::print(stderr, "{}: {}, by {}{}, in {:.1f} s\n", fs::path(o.directory == "." ? fs::relative(module) : module).string(),
                 byte_count(fs::file_size(module)), t.name, optimized, time.count());
    }
  } catch (const fs::filesystem_error& e) {
    throw failure(exit_code::other, e.what());
  }
}

void build(const build_options& o) {
  const interruption signals;
  build(read_project(o.directory), o);
}

}  // namespace tool
