// SPDX-License-Identifier: Apache-2.0
//
// A host whose guest runs here or on another computer: only the line that makes the factory differs. It transforms its
// arguments as one batch and goes on where it was when the server is lost.
//
//   cpp_remote GUEST.wasm "" RECORD...                here
//   cpp_remote GUEST.wasm 127.0.0.1:7070 RECORD...    where `wasm-transform serve --allow-uploads` runs
#include <wasm_engine/remote_engine.hh>
#include <wasm_engine/wasm_engine.hh>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace we = wasmengine;

namespace {

we::factory compiled(const we::runtime& runtime, const we::transform_config& transform, const std::vector<std::uint8_t>& module) {
  auto compilation = runtime.compile(module, transform).value();
  we::drive(compilation).value();
  return compilation.take().value();
}

we::factory deployed(const std::string& address, const we::runtime& runtime, const we::transform_config& transform,
                     const std::vector<std::uint8_t>& module) {
  const auto connection = we::remote_connection::create({.address = address}).value();
  return connection.create_factory(runtime, transform, {.name = {}, .bytes = module}).value();
}

/// Blocks. A host with an event loop writes `co_await we::on(loop, …)` instead.
we::result<void> done(we::result<we::future> operation) {
  return operation ? we::drive(*operation) : we::result<void>(operation.err());
}

void run(const std::string& path, const std::string& address, const std::vector<std::string>& values) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<std::uint8_t> module{std::istreambuf_iterator<char>(file), {}};
  const auto runtime = we::runtime::create().value();
  const we::transform_config transform{"example", "in", {"out"}, {}};

  const auto factory = address.empty() ? compiled(runtime, transform, module) : deployed(address, runtime, transform, module);

  auto engine = we::engine::create(factory).value();
  done(engine.start()).value();
  auto builder = we::batch_builder::create().value();
  for (const auto& value : values) {
    builder.add(0, {std::nullopt, value, {}}).value();
  }
  const auto batch = builder.finish().value();
  auto print = [](we::output_block block) {
    for (const auto& record : block) {
      std::cout << we::payload::read(we::output_record(record).payload()).value().value.value_or("null") << '\n';
    }
  };
  auto end = done(engine.transform(batch, print));
  for (int tries = 0; !end && end.err().status() == WASM_STATUS_CUSTOM_ENGINE_LOST && tries < 3; ++tries) {
    std::cerr << end.err().what() << '\n';
    const auto record = end.err().record();
    done(engine.start()).value();
    end = done(engine.transform_from(batch, record ? record->index : 0, print));
  }
  end.value();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: cpp_remote GUEST.wasm ADDRESS RECORD...\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], {argv + 3, argv + argc});
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
