//! TODO

pub mod oneshot;
pub mod sync;
pub mod task;
