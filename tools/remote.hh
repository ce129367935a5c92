// SPDX-License-Identifier: Apache-2.0
//
// Guests that run on another computer: `run --remote`.
#pragma once

#include "console.hh"
#include "options.hh"

#include <wasm_engine/wasm_engine.hh>

namespace tool {

/// A factory of engines on the server that `o` names. Throws `failure`.
[[nodiscard]] wasmengine::factory remote_factory(const wasmengine::runtime& runtime, const run_options& o, console& out);

}  // namespace tool
