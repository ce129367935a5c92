// SPDX-License-Identifier: Apache-2.0
#include "precompile.hh"

#include "encoding.hh"
#include "exit_code.hh"
#include "file.hh"
#include "output_files.hh"

#include <fmt/format.h>

#include <filesystem>

namespace tool {

void precompile(const precompile_options& o) {
  const auto module = read_module(o.guest);
  wasm_runtime_config config{};
  config.memory_limit = o.memory_limit;
  const auto helper = o.compile_helper.empty() ? std::string() : std::filesystem::absolute(o.compile_helper).string();
  config.compile_helper = wasmengine::as_slice(helper);
  const auto made = wasmengine::runtime::create(config);
  if (!made) {
    throw failure(exit_code::usage, printable(made.err().what()));
  }
  const auto& runtime = *made;
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
