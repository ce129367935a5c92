//! Where linear memories and guests' stacks come from.
//!
//! `config::wasm_memory_mode` names the modes. On demand memory is mapped when an engine starts ([`mapping`]), or it
//! comes from pools that each thread reserves ([`pools`]), from the host for each engine or from Wasmtime's pool of the
//! process.

pub mod allocators;
pub mod block;
pub mod creators;
pub mod image;
pub mod malloc;
pub mod mapping;
pub mod pools;
pub mod refusal;
pub mod reserve;
pub mod slabs;
pub mod stacks;
pub mod windows;
