// SPDX-License-Identifier: Apache-2.0
#include "validate.hh"

#include "encoding.hh"
#include "exit_code.hh"
#include "file.hh"

#include <fmt/format.h>

#include <filesystem>

namespace tool {

void validate(const validate_options& o) {
  const auto module = read_module(o.guest);
  wasm_runtime_config config{};
  config.memory_limit = o.memory_limit;
  const auto runtime = wasmengine::runtime::create(config).value();
  wasmengine::transform_config transform;
  transform.name = std::filesystem::path(o.guest).stem();
  o.allowed.apply(transform);
  if (const auto accepted = o.allowed.any() ? runtime.validate(module, transform) : runtime.validate(module); !accepted) {
    throw failure(exit_code::module_refused,
                  fmt::format("{}: {}: {}", o.guest, accepted.err().status_name(), printable(accepted.err().what())));
  }
  fmt::print("{}: accepted\n", o.guest);
}

}  // namespace tool
