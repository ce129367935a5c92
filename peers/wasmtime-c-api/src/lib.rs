// SPDX-License-Identifier: Apache-2.0
//! Exports Wasmtime's C functions, all of them.
pub use wasmtime_c_api::*;
