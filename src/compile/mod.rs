//! From a module or an artifact to code that runs. A [`job`] on one of the compile [`threads`] calls the [`compiler`]
//! and makes a [`factory`] that is linked ([`link`]) with the host functions of its [`runtime`].

pub mod artifacts;
pub mod code_cache;
pub mod codes;
pub mod compilation;
pub mod compiler;
pub mod factory;
pub mod factory_cache;
pub mod helper;
pub mod job;
pub mod link;
pub mod request;
pub mod rewriting;
pub mod runtime;
pub mod threads;
pub mod wasmtime_config;
