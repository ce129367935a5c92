//! From a module or an artifact to code that runs: runtime, compile threads, factories and caches.

pub mod code_cache;
pub mod compiler;
pub mod factory;
pub mod factory_cache;
pub mod runtime;
pub mod wasmtime_config;
