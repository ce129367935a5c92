//! What `oneshot` and `task` need of the standard library's kind; the model checker in `loom/` has its own.

pub use core::sync::atomic::{AtomicU8, Ordering};
pub use parking_lot::Mutex;
pub use std::sync::Arc;
