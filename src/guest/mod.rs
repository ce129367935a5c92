//! A running guest: its store, what it may call, and how it is suspended.

pub mod batch;
pub mod clock;
pub mod context;
pub mod control;
pub mod core_dump;
pub mod custom;
pub mod ending;
pub mod fault;
pub mod host_function;
pub mod instance;
pub mod last_words;
pub mod limits;
pub mod memory;
pub mod monotonic;
pub mod output;
pub mod output_block;
pub mod profile;
pub mod program;
pub mod random;
pub mod refusal;
pub mod schema_registry;
pub mod transform;
pub mod wasi;
pub mod wasi_flags;
pub mod wasi_streams;
pub mod work;
