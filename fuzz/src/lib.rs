//! What the fuzz targets share: the library's wings, and budgets of memory and time.
//!
//! The wings are compiled from the library's own files. They name each other by `crate::`, so they stand at this crate's
//! root, too. Nothing of the library has to be public for that. Without the feature `engine` these are the wings that need
//! no Wasmtime.
#![allow(missing_docs, dead_code, non_camel_case_types)] // as far as they are used here

#[path = "../../src/base/mod.rs"]
pub mod base;
pub mod budget;
#[cfg(feature = "engine")]
pub mod calls;
#[path = "../../src/module/mod.rs"]
pub mod module;
pub mod sdk;
pub mod smith;

/// What of this wing needs no Wasmtime.
#[cfg(not(feature = "engine"))]
#[path = "."]
pub mod host {
    #[path = "../../src/host/schema.rs"]
    pub mod schema;
}

#[cfg(feature = "engine")]
#[path = "../../src/abi/mod.rs"]
pub mod abi;
#[cfg(feature = "engine")]
#[path = "../../src/compile/mod.rs"]
pub mod compile;
#[cfg(feature = "engine")]
#[path = "../../src/engine/mod.rs"]
pub mod engine;
#[cfg(feature = "engine")]
#[path = "../../src/guest/mod.rs"]
pub mod guest;
#[cfg(feature = "engine")]
#[path = "../../src/host/mod.rs"]
pub mod host;
#[cfg(feature = "engine")]
pub mod image;
#[cfg(feature = "engine")]
#[path = "../../src/metrics/mod.rs"]
pub mod metrics;
#[cfg(feature = "engine")]
pub mod script_guest;
#[cfg(feature = "engine")]
#[path = "../../src/system/mod.rs"]
pub mod system;

pub use wasm_engine_batch as batch;
#[cfg(feature = "engine")]
pub use wasm_engine_promise as promise;
