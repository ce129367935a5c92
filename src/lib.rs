//! WebAssembly data transforms inside the threads of a C or C++ event-loop host.
//!
//! The library's interface is C: `include/wasm_engine.h`, made from the modules in [`abi`]. The rest, by the way that a
//! batch takes: [`engine`] checks it with [`batch`], puts it where the host functions in [`guest`] find it, and lets the
//! guest run; what the guest writes collects in [`output`] and goes to the host's [`sink`].
//!
//! `unsafe` is denied except where C is spoken or memory is handed over: `ffi`, `waker`, `sink`, `policy`, `memory`,
//! `signals`, `fork`, and single functions that say why.
#![allow(non_camel_case_types)] // types that C sees have their C names
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod batch;
pub mod engine;
pub mod abi;
pub mod guest;
pub mod metrics;
pub mod module;
pub mod base;
pub mod promise;
pub mod host;
pub mod system;
pub mod compile;
