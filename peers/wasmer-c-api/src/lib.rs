// SPDX-License-Identifier: Apache-2.0
//! Exports Wasmer's C functions, all of them.
pub use wasmer_c_api::*;
