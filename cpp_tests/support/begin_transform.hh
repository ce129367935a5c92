// SPDX-License-Identifier: Apache-2.0
//
// Transforms as C begins them, for tests of the C functions.
#pragma once

#include <wasm_engine.h>

#include <cstdint>

inline wasm_status begin_transform_from(wasm_engine* engine, wasm_slice batch, std::uint32_t first_record,
                                        const wasm_output_sink* sink, wasm_future** future, wasm_error** error) {
  const wasm_transform_args args{sizeof(args), batch, sink, first_record};
  return wasm_engine_transform(engine, &args, future, error);
}

inline wasm_status begin_transform(wasm_engine* engine, wasm_slice batch, const wasm_output_sink* sink,
                                   wasm_future** future, wasm_error** error) {
  return begin_transform_from(engine, batch, 0, sink, future, error);
}
