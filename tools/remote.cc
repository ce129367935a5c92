// SPDX-License-Identifier: Apache-2.0
#include "remote.hh"

#include "encoding.hh"
#include "exit_code.hh"
#include "file.hh"

#ifdef WASM_TRANSFORM_REMOTE

#include <wasm_engine/remote_engine.hh>

namespace tool {

wasmengine::factory remote_factory(const wasmengine::runtime& runtime, const run_options& o, console& out) {
  wasmengine::remote_config config{.address = o.remote};
  if (!o.remote_ca.empty()) {
    config.tls = wasmengine::remote_tls{};
    config.tls->ca = o.remote_ca == "-" ? std::string() : read_text(o.remote_ca);
  }
  if (!o.remote_token.empty()) {
    config.token = read_token(o.remote_token);
  }
  config.log = [&out](const wasmengine::log_line& line) { out.log(line); };
  const auto connection = wasmengine::remote_connection::create(std::move(config));
  if (!connection) {
    throw failure(exit_code::usage, printable(connection.err().what()));
  }
  const wasmengine::transform_config transform{o.name, o.input_topic.value_or("input"), o.output_topics, o.env};
  return connection->create_factory(runtime, transform, {.name = {}, .bytes = read_module(o.guest)}).value();
}

}  // namespace tool

#else

namespace tool {

wasmengine::factory remote_factory(const wasmengine::runtime&, const run_options&, console&) {
  throw failure(exit_code::other, "this wasm-transform was built without gRPC");
}

}  // namespace tool

#endif
