//! TODO

pub mod cache;
pub mod compiler;
pub mod factory;
pub mod factory_cache;
pub mod runtime;
pub mod wasmtime_config;
