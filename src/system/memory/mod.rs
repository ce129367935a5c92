//! Where linear memories and guests' stacks come from.
//!
//! `config::wasm_memory_mode` names the modes. In two of them Wasmtime provides memory: it maps memory when an engine
//! starts or takes it from a pool of the process. In the other two the library does: from pools that each thread
//! reserves ([`pools`]) or from the host for each engine.

pub mod allocators;
pub mod block;
pub mod creators;
pub mod malloc;
pub mod pools;
pub mod refusal;
pub mod reserve;
pub mod slabs;
pub mod stacks;
