//! Promises and tasks without Wasmtime: a value that is set once and waited for by one poller, and the states of a task on an
//! executor. Small enough that the model checker loom tries every order of every thread's steps (`tests/loom.rs`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod oneshot;
pub mod sync;
pub mod task;
