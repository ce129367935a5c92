// SPDX-License-Identifier: Apache-2.0
#include "exit_code.hh"
#include "inspect.hh"
#include "options.hh"
#include "precompile.hh"
#include "run.hh"
#include "serve.hh"
#include "validate.hh"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace {

void dispatch(const tool::run_options& o) { tool::run(o); }
void dispatch(const tool::serve_options& o) { tool::serve(o); }
void dispatch(const tool::validate_options& o) { tool::validate(o); }
void dispatch(const tool::inspect_options& o) { tool::inspect(o); }
void dispatch(const tool::precompile_options& o) { tool::precompile(o); }

int end(tool::exit_code code, const char* message) {
  fmt::print(stderr, "wasm-transform: {}\n", message);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const auto options = tool::parse_options(argc, argv)) {
      std::visit([](const auto& o) { dispatch(o); }, *options);
    }
    return static_cast<int>(tool::exit_code::done);
  } catch (const tool::failure& e) {
    return end(e.code(), e.what());
  } catch (const std::exception& e) {
    return end(tool::exit_code::other, e.what());
  }
}
