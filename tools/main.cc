// SPDX-License-Identifier: Apache-2.0
#include "exit_code.hh"
#include "options.hh"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace {

int end(tool::exit_code code, const char* message) {
  fmt::print(stderr, "wasm-transform: {}\n", message);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (const auto command = tool::parse_options(argc, argv)) {
      (*command)();
    }
    return static_cast<int>(tool::exit_code::done);
  } catch (const tool::failure& e) {
    return end(e.code(), e.what());
  } catch (const std::exception& e) {
    return end(tool::exit_code::other, e.what());
  }
}
