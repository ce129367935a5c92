// SPDX-License-Identifier: Apache-2.0
//
// The generated code of the protocol. Precompiled, since it and gRPC take most of the compiler's time.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "wasm_engine_remote.grpc.pb.h"

#include <grpcpp/grpcpp.h>
#pragma GCC diagnostic pop

namespace wasmengine::remote {
namespace wire = wasm_remote::v1;
}
