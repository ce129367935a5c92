// SPDX-License-Identifier: Apache-2.0
//
// The C++20 layer over wasm_engine.h: RAII, results and coroutines. Header-only. Standard library only.
//
// The namespace is `wasmengine`: `wasm` is taken by the wasm-c-api's C++ header, and `wasm_engine` is a C type.
#pragma once

#include "batch.hh"
#include "coroutine.hh"
#include "custom_engine.hh"
#include "engine.hh"
#include "error.hh"
#include "factory_cache.hh"
#include "future.hh"
#include "handle.hh"
#include "host.hh"
#include "policy.hh"
#include "metrics.hh"
#include "records.hh"
#include "runtime.hh"
#include "thread.hh"
#include "topic_batches.hh"
