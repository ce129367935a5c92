//! WebAssembly data transforms inside the threads of a C or C++ event-loop host.
//!
//! The library's interface is C. `include/wasm_engine.h` is generated from the modules in `abi`. The modules here are
//! wings in an order and each uses only those before it: `promise`, `batch`, `base`, `host`, `system`, `metrics`,
//! `module`, `guest`, `compile`, `engine`, `abi` (`scripts/check-wings.py`). `docs/architecture.md` follows a batch
//! and a future and an error and a module through them.
//!
//! `unsafe` is denied except at the C interface and where raw memory is passed on. It is allowed in `abi`; in `host`:
//! `call`, `owned`, `parsed_output`, `schema_registry`, `sink`, `slice`, `timer`, `waker`; in `system`: `fork`,
//! `memory`, `processors`, `scheduling`, `signal_stack`, `signals`; in `guest`: `custom`, `ending`, `host_function`,
//! `memory`; in `compile`: `helper`; and in single functions that state the reason. `scripts/check-wings.py` compares
//! this list.
#![allow(non_camel_case_types)] // types that C sees have their C names
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod abi;
mod base;
mod compile;
mod engine;
mod guest;
mod host;
mod metrics;
mod module;
mod system;

use wasm_engine_batch as batch;
use wasm_engine_promise as promise;
