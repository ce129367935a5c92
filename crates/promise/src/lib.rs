//! Promises and tasks without Wasmtime: a value that is set once and awaited by one poller, and the states of a task
//! on an executor. The crate is small enough for the model checker loom to try every interleaving (`tests/loom.rs`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod oneshot;
pub mod sync;
pub mod task;
