// SPDX-License-Identifier: Apache-2.0
#include "precompile.hh"

#include "encoding.hh"
#include "exit_code.hh"
#include "file.hh"
#include "output_files.hh"

#include <fmt/format.h>

namespace tool {

void precompile(const precompile_options& o) {
  const auto module = read_module(o.guest);
  wasm_runtime_config config{};
  config.memory_limit = o.memory_limit;
  const auto runtime = wasmengine::runtime::create(config).value();
  auto precompilation = runtime.precompile(module).value();
  if (const auto done = wasmengine::drive(precompilation); !done) {
    throw failure(exit_code::module_refused,
                  fmt::format("{}: {}: {}", o.guest, done.err().status_name(), printable(done.err().what())));
  }
  const auto artifact = precompilation.take().value();
  const auto bytes = artifact.bytes();
  output_file file(o.output);
  file.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  file.commit();
}

}  // namespace tool
